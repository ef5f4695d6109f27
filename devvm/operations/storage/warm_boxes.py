"""Warm boxes: the memory of a VM that was booted from a box, and the root that goes with it.

A warm box is a saved state: a domain that never runs and owns both volumes. So libvirt knows what
they are needed for, also when VMs have layers on that root.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.disk import MEMORY, ROOT
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Driver
from devvm.operations.storage import saved_states
from devvm.ports.services import Services


def find(services: Services, release: str) -> SavedState | None:
    """The warm box of a release; None if there is none."""
    return next(iter(of(services, release)), None)


def of(services: Services, release: str) -> list[SavedState]:
    """The warm boxes of a release, newest first; more than one after a killed `box warm`."""
    found = [
        kept
        for kept in services.domains.saved_states()
        if kept.purpose is Purpose.WARM and kept.vm.release == release
    ]
    return found[::-1]


def remove(services: Services, warm: SavedState) -> None:
    """Remove a warm box; a root that VMs are based on stays until they are gone."""
    paths = [disk.path for disk in warm.disks]
    saved_states.delete(services, warm)
    saved_states.release(services, paths)


def fits(services: Services, *, driver: Driver, cpus: int, memory_mib: int, root_bytes: int) -> str:
    """Which VMs can be restored from a memory: those for which this text is the same."""
    emulator = services.host.emulator(driver)
    if driver is Driver.QEMU:
        emulator += f" with the processor {services.config.vm.emulated_cpu}"
    size = f"{root_bytes / 1024**3:g} GiB"
    return f"{emulator}, {cpus} CPUs, {memory_mib} MiB, root disk of {size}"


def root_of(warm: SavedState) -> Path:
    """The root that goes with the memory."""
    return next(disk.path for disk in warm.disks if disk.role == ROOT)


def memory_of(warm: SavedState) -> Path:
    """The volume with the memory."""
    return next(disk.path for disk in warm.disks if disk.role == MEMORY)
