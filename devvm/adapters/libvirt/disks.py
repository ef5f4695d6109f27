"""The disks of domains: their layers and sizes, changed while a VM is running or off."""

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
    # no snapshot object in libvirt, which would prevent later changes
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)
_COPY = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
    | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    # if devvm dies before the copy ends, a power-off drops the copy, which is what we want
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
)
_BLOCK_JOB_TIMEOUT = 3600.0
_POLL = 0.1


class Disks:
    """Implements `Disks` for one libvirt host.

    Args:
        connection: The connection to the host.
        domains: The host's domains.
        volumes: The volumes of their disks.
    """

    def __init__(self, connection: Connection, domains: Domains, volumes: Volumes) -> None:
        self._connection = connection
        self._domains = domains
        self._volumes = volumes

    def of(self, fqdn: str) -> list[Disk]:
        """A domain's disks at its next start, with their sizes."""
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
        """Put new layers on a VM's disks, all at the same time; a running VM keeps running.

        Args:
            vm: The VM.
            on_top: Empty volumes on top of the present ones, by the disks' roles.

        Returns:
            The consistency of the layers below. `off`: the VM was off. `frozen`: the guest's agent
            froze the file systems. `crash`: the agent didn't, so they are as after a power cut,
            and will recover from their journals.
        """
        if vm.state is VmState.SHUTOFF:
            change = DomainChange(disks=on_top)
            self._domains.define(self._domains.definition(vm.fqdn), change)
            return "off"
        return "frozen" if self._split_running(vm.fqdn, on_top) else "crash"

    def move(self, vm: Vm, role: str, destination: Path) -> None:
        """Move the top layer of a running VM's disk to another volume, on the same layer below.

        Raises:
            OperationError: copying failed; the disk is where it was.
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
        """Merge everything above a layer of a running VM's disk into it, and switch to it.

        Everything is flushed before QEMU switches to the layer. (A block pull, libvirt's
        alternative, doesn't flush: if QEMU were killed then, data would be lost.)

        Args:
            vm: The VM.
            role: The disk's role.
            layer: The layer; nothing else may need its present content.

        Raises:
            OperationError: merging failed; the disk is where it was.
        """
        device = self._device(vm.fqdn, role)
        with translated(f"the layers of {vm.fqdn} can't be merged"):
            domain = self._idle(vm.fqdn)
            flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
            domain.blockCommit(device, str(layer), None, 0, flags)
            self._pivot(domain, device)

    def resize(self, vm: Vm, role: str, size_bytes: int) -> None:
        """Enlarge a disk. Growing its file system is up to the guest."""
        if vm.state is VmState.SHUTOFF:
            path = next(disk.path for disk in vm.disks if disk.role == role)
            self._volumes.resize(path, size_bytes)
            return
        device = self._device(vm.fqdn, role)
        with translated(f"the disk {device} of {vm.fqdn} can't be resized"):
            flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            self._idle(vm.fqdn).blockResize(device, size_bytes, flags)

    def _split_running(self, fqdn: str, layers: Mapping[str, Path]) -> bool:
        """Put new layers on a running VM's disks; True if its file systems were frozen."""
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
                # No agent, or one that can't freeze. For other reasons, the second try fails too.
                if set(layers.values()) <= {disk.path for disk in self._disks(fqdn)}:
                    return True  # split; only thawing failed
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
        """Wait until the block job's target has caught up with the disk, and switch to it."""
        try:
            _await_mirror(domain, device)
            domain.blockJobAbort(device, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        except BaseException:
            _abort(domain, device)
            raise

    def _idle(self, fqdn: str) -> libvirt.virDomain:
        """Look up a domain and abort merges that killed commands left; other jobs continue."""
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
        return  # the job has ended, and perhaps the VM too
