"""What is done to a running VM: its disks' layers and sizes, and words with its guest agent."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu

from devvm.adapters.libvirt import definition
from devvm.adapters.libvirt.connection import Connection, translated
from devvm.domain.errors import OperationError
from devvm.domain.model import DomainDisk

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
#: An emulated guest's agent takes its time.
_AGENT_TIMEOUT = 20
_BLOCK_JOB_TIMEOUT = 3600.0
_POLL = 0.1


class Live:
    """The running domains of one libvirt host."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def split(self, fqdn: str, layers: Mapping[str, Path]) -> bool:
        """Put new layers on disks, all at the same moment, while the VM runs on.

        Args:
            fqdn: The domain.
            layers: Empty volumes on top of the present ones, by the disks' roles.

        Returns:
            Whether the guest's agent froze the file systems meanwhile. Where it does not answer,
            the disks below are as after a power cut: journals make them whole.
        """
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

    def move_disk(self, fqdn: str, role: str, destination: Path) -> None:
        """Go on, with a disk's newest layer, in another volume, which lies on the same one below.

        Raises:
            OperationError: it could not be copied; the disk is where it was.
        """
        device = self._device(fqdn, role)
        wanted = ET.Element("disk", type="file")
        ET.SubElement(wanted, "driver", type="qcow2")
        ET.SubElement(wanted, "source", file=str(destination))
        with translated(f"the disk {device} of {fqdn} can't be moved"):
            domain = self._idle(fqdn)
            domain.blockCopy(device, ET.tostring(wanted, encoding="unicode"), {}, _COPY)
            self._pivot(domain, device)

    def commit(self, fqdn: str, role: str, layer: Path) -> None:
        """Write what lies above a disk's layer into that layer, and go on in it.

        All of it is on the disk before QEMU goes on there. (libvirt's other way, to pull the lower
        layers into the newest one, does not flush: were QEMU killed then, it would be lost.)

        Args:
            fqdn: The domain.
            role: The disk's.
            layer: The layer; nothing else may need it as it is.

        Raises:
            OperationError: it could not be written; the disk is where it was.
        """
        device = self._device(fqdn, role)
        with translated(f"the layers of {fqdn} can't be merged"):
            domain = self._idle(fqdn)
            flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
            domain.blockCommit(device, str(layer), None, 0, flags)
            self._pivot(domain, device)

    def resize(self, fqdn: str, role: str, size_bytes: int) -> None:
        """Make a disk larger while the VM runs; its file system is the guest's matter."""
        device = self._device(fqdn, role)
        with translated(f"the disk {device} of {fqdn} can't be resized"):
            flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            self._idle(fqdn).blockResize(device, size_bytes, flags)

    def read_file(self, fqdn: str, path: str) -> str | None:
        """A small text file of the guest's, by its agent; None where there is no answer or file."""
        domain = self._get(fqdn)
        opened = _ask(domain, "guest-file-open", path=path, mode="r")
        if opened is None:
            return None
        read = _ask(domain, "guest-file-read", handle=opened, count=65536)
        _ask(domain, "guest-file-close", handle=opened)
        return base64.b64decode(read["buf-b64"]).decode() if read else None

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        """Let a key in to an account, by the guest's agent; False where there is no answer."""
        try:
            self._get(fqdn).authorizedSSHKeysSet(
                login, [public_key], libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
            )
        except libvirt.libvirtError:  # no agent, one that is too old, or no such account
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


def _ask(domain: libvirt.virDomain, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
    text = json.dumps({"execute": command, "arguments": arguments})
    try:
        return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, _AGENT_TIMEOUT, 0))["return"]
    except libvirt.libvirtError:
        return None
