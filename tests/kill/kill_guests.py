"""Guests without an operating system: firmware that reports when it is up, and bytes on disks.

A guest writes through its running QEMU, to whichever layer its disk is on at that moment; reads
return what the guest would read.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import libvirt
import libvirt_qemu

from devvm.domain.disk import DATA
from devvm.domain.errors import OperationError

#: Where on a disk something is written, in MiB, and its size in KiB.
SIZE_KIB = 64
#: A person's work; on the data disk, like homes and checkouts.
WORK = 820
_MIB = 1024**2


def is_up(domain: libvirt.virDomain) -> bool:
    """Whether a guest runs and has come up since it was powered on."""
    try:
        return "0x75" in _ask(domain, "xp /1bx 0x500")  # written by guest.s
    except libvirt.libvirtError:
        return False


def await_up(domain: libvirt.virDomain, told: Callable[[], None] | None = None) -> None:
    """Wait until a guest is up.

    Args:
        domain: The guest's domain.
        told: Called repeatedly while waiting; may raise an exception.

    Raises:
        OperationError: it does not come up, or stops running.
    """
    deadline = time.monotonic() + 60
    while not is_up(domain):
        if told is not None:
            told()
        if not domain.isActive() or time.monotonic() > deadline:
            raise OperationError(f"{domain.name()} is not up")
        time.sleep(0.02)


def power_on(domain: libvirt.virDomain) -> None:
    """Start a domain, and wait until its guest is up."""
    domain.create()
    await_up(domain)


def write(domain: libvirt.virDomain, role: str, at_mib: int, pattern: int) -> None:
    """Make a running guest write something to one of its disks, and flush it.

    Raises:
        OperationError: the guest is not up.
    """
    await_up(domain)
    disk = f"/machine/peripheral/virtio-disk{1 if role == DATA else 0}/virtio-backend"
    for command in (f"write -q -P {pattern} {at_mib}M {SIZE_KIB}k", "flush"):
        said = _ask(domain, f'qemu-io -d {disk} "{command}"')
        assert not said.strip(), said


def write_off(path: Path, at_mib: int, pattern: int) -> None:
    """Write something to a disk of a guest that is off."""
    _call("qemu-io", "-f", "qcow2", "-c", f"write -q -P {pattern} {at_mib}M {SIZE_KIB}k", path)


def read(path: Path, at_mib: int, copy: Path) -> int:
    """The pattern written at a place on a disk, whether its guest runs or not."""
    place = f"driver=raw,offset={at_mib * _MIB},size={SIZE_KIB * 1024}"
    image = f"file.driver=qcow2,file.file.driver=file,file.file.filename={path}"
    _call("qemu-img", "convert", "-U", "-O", "raw", "--image-opts", f"{place},{image}", copy)
    found = set(copy.read_bytes())
    assert len(found) == 1, found
    return found.pop()


def _ask(domain: libvirt.virDomain, command: str) -> str:
    flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
    return str(libvirt_qemu.qemuMonitorCommand(domain, command, flags))


def _call(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True)
