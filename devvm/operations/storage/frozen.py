"""Frozen VMs: the memory of a VM, with the disks that go with it, to start other VMs from.

A warm box is one that any number of VMs can be started from; a spare is good for one, and has a
data disk too. Both are saved states: a domain that never runs and owns the volumes. So libvirt
knows what they are needed for, also when VMs have layers on the disks.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.disk import DATA, MEMORY
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Driver
from devvm.operations.storage import saved_states
from devvm.ports.services import Services

_FROZEN = (Purpose.WARM, Purpose.SPARE)


def warm_box(services: Services, release: str) -> SavedState | None:
    """The warm box of a release; None if there is none."""
    return next(iter(warm_boxes(services, release)), None)


def warm_boxes(services: Services, release: str) -> list[SavedState]:
    """The warm boxes of a release, newest first; more than one after a killed `box warm`."""
    return [kept for kept in of(services, release) if kept.purpose is Purpose.WARM][::-1]


def spares(services: Services) -> list[SavedState]:
    """The spares of all releases, oldest first, also those that can't be used any more."""
    found = services.domains.saved_states()
    return [kept for kept in found if kept.purpose is Purpose.SPARE]


def of(services: Services, release: str) -> list[SavedState]:
    """The warm boxes and spares of a release, oldest first."""
    return [
        kept
        for kept in services.domains.saved_states()
        if kept.purpose in _FROZEN and kept.vm.release == release
    ]


def remove(services: Services, kept: SavedState) -> None:
    """Remove a frozen VM; disks that other VMs are based on stay until those are gone."""
    paths = saved_states.layers_under(services, kept.disks)
    saved_states.delete(services, kept)
    saved_states.release(services, paths)


def fits(services: Services, *, driver: Driver, cpus: int, memory_mib: int, root_bytes: int) -> str:
    """Which VMs can be restored from a memory: those for which this text is the same."""
    emulator = services.host.emulator(driver)
    if driver is Driver.QEMU:
        emulator += f" with the processor {services.config.vm.emulated_cpu}"
    size = f"{root_bytes / 1024**3:g} GiB"
    return f"{emulator}, {cpus} CPUs, {memory_mib} MiB, root disk of {size}"


def lost(services: Services, kept: SavedState) -> list[str]:
    """The names of the volumes that a frozen VM has lost."""
    names = [disk.path.name for disk in kept.disks]
    return [name for name in names if not services.volumes.exists(name)]


def path_of(kept: SavedState, role: str) -> Path:
    """The volume of a frozen VM that has this role: its root, its data disk, its memory."""
    return next(disk.path for disk in kept.disks if disk.role == role)


def has_data(kept: SavedState) -> bool:
    """Whether a frozen VM has a data disk, as spares have."""
    return any(disk.role == DATA for disk in kept.disks)


def disks_of(kept: SavedState) -> dict[str, Path]:
    """The volumes of a frozen VM that a VM needs layers on, by role."""
    return {disk.role: disk.path for disk in kept.disks if disk.role != MEMORY}


def room_needed(services: Services) -> int:
    """Bytes that the pool must have free to freeze a VM: for its memory, its root, and for VMs."""
    return 3 * services.config.vm.memory_mib * 1024**2
