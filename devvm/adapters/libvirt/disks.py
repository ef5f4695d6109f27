"""The disks of domains: their layers and sizes, changed while a VM runs or is off."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import definition
from devvm.adapters.libvirt.connection import Connection, translated
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.volumes import Volumes
from devvm.domain.disk import Disk, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import DomainChange
from devvm.domain.vm import Vm, VmState

_SPLIT = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    # libvirt keeps no object of its own: that would stand in the way of later changes
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)
_COPY = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
    | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    # a copy whose end devvm does not see would be dropped at a power-off, and that is right
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
)
_BLOCK_JOB_TIMEOUT = 3600.0
_POLL = 0.1


class Disks:
    """The disks of one libvirt host's domains.

    Args:
        connection: The host.
        domains: Whose disks they are.
        volumes: What they lie on.
    """

    def __init__(self, connection: Connection, domains: Domains, volumes: Volumes) -> None:
        self._connection = connection
        self._domains = domains
        self._volumes = volumes

    def of(self, fqdn: str) -> list[Disk]:
        """A domain's disks, with their sizes, as its next start has them."""
        found = []
        for disk in self._domains.disk_sources(fqdn):
            size, used = self._volumes.size(disk.path)
            found.append(
                Disk(
                    device=disk.device, role=disk.role, path=disk.path,
                    size_bytes=size, used_bytes=used,
                )
            )  # fmt: skip
        return found

    def split(self, vm: Vm, on_top: Mapping[str, Path]) -> str:
        """Put new layers on a VM's disks, all at the same moment; it runs on, if it runs.

        Args:
            vm: The VM.
            on_top: Empty volumes on top of the present ones, by the disks' roles.

        Returns:
            How the disks below were brought to rest. `off`: the VM was; `frozen`: the guest's
            agent froze the file systems meanwhile; `crash`: it does not answer, and they are as
            after a power cut: journals make them whole.
        """
        if vm.state is VmState.SHUTOFF:
            change = DomainChange(disks=on_top)
            self._domains.define(self._domains.definition(vm.fqdn), change)
            return "off"
        return "frozen" if self._split_running(vm.fqdn, on_top) else "crash"

    def move(self, vm: Vm, role: str, destination: Path) -> None:
        """Go on, with a disk's newest layer, in another volume, which lies on the same one below.

        Raises:
            OperationError: it could not be copied; the disk is where it was.
        """
        device = self._device(vm.fqdn, role)
        wanted = ET.Element("disk", type="file")
        ET.SubElement(wanted, "driver", type="qcow2")
        ET.SubElement(wanted, "source", file=str(destination))
        with translated(f"the disk {device} of {vm.fqdn} can't be moved"):
            domain = self._idle(vm.fqdn)
            domain.blockCopy(device, ET.tostring(wanted, encoding="unicode"), {}, _COPY)
            self._pivot(domain, device)

    def commit(self, vm: Vm, role: str, layer: Path) -> None:
        """Write what lies above a running VM's disk's layer into that layer, and go on in it.

        All of it is on the disk before QEMU goes on there. (libvirt's other way, to pull the lower
        layers into the newest one, does not flush: were QEMU killed then, it would be lost.)

        Args:
            vm: The VM.
            role: The disk's.
            layer: The layer; nothing else may need it as it is.

        Raises:
            OperationError: it could not be written; the disk is where it was.
        """
        device = self._device(vm.fqdn, role)
        with translated(f"the layers of {vm.fqdn} can't be merged"):
            domain = self._idle(vm.fqdn)
            flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
            domain.blockCommit(device, str(layer), None, 0, flags)
            self._pivot(domain, device)

    def resize(self, vm: Vm, role: str, size_bytes: int) -> None:
        """Make a disk larger; its file system is the guest's matter."""
        if vm.state is VmState.SHUTOFF:
            path = next(disk.path for disk in vm.disks if disk.role == role)
            self._volumes.resize(path, size_bytes)
            return
        device = self._device(vm.fqdn, role)
        with translated(f"the disk {device} of {vm.fqdn} can't be resized"):
            flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            self._idle(vm.fqdn).blockResize(device, size_bytes, flags)

    def _split_running(self, fqdn: str, layers: Mapping[str, Path]) -> bool:
        """Put new layers on a running VM's disks; whether its file systems were frozen."""
        request = ET.Element("domainsnapshot")
        disks = ET.SubElement(request, "disks")
        for present in self._disks(fqdn):
            if present.role in layers:
                disk = ET.SubElement(disks, "disk", name=present.device, snapshot="external")
                ET.SubElement(disk, "driver", type="qcow2")
                ET.SubElement(disk, "source", file=str(layers[present.role]))
            else:
                ET.SubElement(disks, "disk", name=present.device, snapshot="no")
        xml = ET.tostring(request, encoding="unicode")
        with translated(f"the disks of {fqdn} can't be split"):
            domain = self._idle(fqdn)
            try:
                domain.snapshotCreateXML(xml, _SPLIT | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE)
            except libvirt.libvirtError:
                # No agent, or one that can't freeze: of other reasons the second try dies, too.
                if set(layers.values()) <= {disk.path for disk in self._disks(fqdn)}:
                    return True  # split, and only the thaw went wrong
                domain.snapshotCreateXML(xml, _SPLIT)
                return False
            return True

    def _disks(self, fqdn: str) -> tuple[DomainDisk, ...]:
        with translated(f"the domain {fqdn} can't be read"):
            domain = ET.fromstring(self._get(fqdn).XMLDesc())  # noqa: S314 - libvirt's own answer
        return definition.disks(domain)

    def _device(self, fqdn: str, role: str) -> str:
        return next(disk.device for disk in self._disks(fqdn) if disk.role == role)

    @staticmethod
    def _pivot(domain: libvirt.virDomain, device: str) -> None:
        """Wait until a disk's copy is as the disk, and have the VM go on in it."""
        try:
            _await_mirror(domain, device)
            domain.blockJobAbort(device, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        except BaseException:
            _abort(domain, device)
            raise

    def _idle(self, fqdn: str) -> libvirt.virDomain:
        """A domain in which no killed command is merging layers any more; others' jobs go on."""
        domain = self._get(fqdn)
        for disk in self._disks(fqdn):
            job = domain.blockJobInfo(disk.device)
            if job and job["type"] == libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT:
                _abort(domain, disk.device)
        return domain

    def _get(self, fqdn: str) -> libvirt.virDomain:
        with translated(f"the domain {fqdn} can't be looked up"):
            return self._connection.get().lookupByName(fqdn)


def _await_mirror(domain: libvirt.virDomain, device: str) -> None:
    deadline = time.monotonic() + _BLOCK_JOB_TIMEOUT
    while not _mirrored(domain, device):
        if time.monotonic() > deadline:
            raise OperationError(
                f"copying {device} of {domain.name()} did not finish within "
                f"{_BLOCK_JOB_TIMEOUT:.0f} s"
            )
        time.sleep(_POLL)


def _mirrored(domain: libvirt.virDomain, device: str) -> bool:
    if not domain.blockJobInfo(device):
        raise OperationError(
            f"the copy of {device} of {domain.name()} ended early",
            details="perhaps the pool is full",
            resolution="make room: devvm trash list, devvm box list",
        )
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own answer
    for disk in root.iterfind("devices/disk"):
        target, mirror = disk.find("target"), disk.find("mirror")
        if target is not None and target.get("dev") == device and mirror is not None:
            return mirror.get("ready") == "yes"
    return False


def _abort(domain: libvirt.virDomain, device: str) -> None:
    try:
        domain.blockJobAbort(device, 0)
    except libvirt.libvirtError:
        return  # it has ended, and so may the VM have
