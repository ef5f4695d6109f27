"""Delete what has expired, and keep the chains of layers short."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from devvm.domain.disk import Volume
from devvm.domain.errors import DevvmError, LockedError
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import repair
from devvm.operations.storage import saved_states
from devvm.ports.services import Services


def collect(machine: Machine, run: Run) -> None:
    """Delete what has expired, and merge layers of a running VM that nothing else needs.

    Never raises: the next operation tries again. The caller holds the VM's lock; what has expired
    of other VMs is skipped while they are locked.
    """
    services = machine.services
    try:
        for other in sorted({kept.vm.name for kept in expired(services)}):
            held = (
                nullcontext() if other == machine.name else services.state.lock(other, run.command)
            )
            with suppress(LockedError), held:
                _expire(Machine(services, other), run)
        vm = machine.vm()
        if vm is not None and vm.state is VmState.RUNNING:
            delete_stale_layers(services, vm)
            merge(services, vm, run)
    except DevvmError as error:
        run.note(f"Cleaning up after {machine} was put off: {error}")


def _expire(machine: Machine, run: Run) -> None:
    services = machine.services
    if machine.journal() is not None:
        return
    for kept in expired(services):
        if kept.vm.name == machine.name and saved_states.find(services, kept.id) is not None:
            purge(services, kept)
            run.note(f"Expired, deleted for good: {machine}, {kept.label}")


def expired(services: Services) -> list[SavedState]:
    """The states in the trash that have expired."""
    now = datetime.now(UTC)
    return [
        kept
        for kept in services.domains.saved_states()
        if kept.purpose is Purpose.TRASH
        and kept.expires_at
        and datetime.fromisoformat(kept.expires_at) <= now
    ]


def purge(services: Services, kept: SavedState) -> list[str]:
    """Delete a saved state for good; for a VM that was destroyed, its snapshots too.

    Returns:
        The names of the deleted volumes. Those that something else needs stay.
    """
    doomed = with_snapshots(services, kept)
    paths: set[Path] = set()
    for state in doomed:
        paths |= saved_states.layers_under(services, state.disks)
    for state in reversed(doomed):  # the destroyed VM last, so that a killed purge can be repeated
        saved_states.delete(services, state)
    return saved_states.release(services, paths)


def with_snapshots(services: Services, kept: SavedState) -> list[SavedState]:
    """A saved state and, if it is a VM that was destroyed, its snapshots."""
    if not kept.destroyed:
        return [kept]
    snapshots = saved_states.of_vm(Machine(services, kept.vm.name), Purpose.SNAPSHOT)
    return [kept, *(other for other in snapshots if other.uuid == kept.uuid)]


def delete_stale_layers(services: Services, vm: Vm) -> None:
    """Delete unused layers on a volume that a VM writes to: they are no longer valid.

    An interrupted merge leaves such layers. For a VM that is off, call it only after a merge:
    somebody may have given its domain an older layer by hand.
    """
    below = {volume.path: volume.below for volume in services.volumes.all()}
    void: set[Path] = set()
    written = {disk.path for disk in vm.disks}
    while more := {path for path in below if below[path] in written | void} - void:
        void |= more
    saved_states.release(services, void)


def merge(services: Services, vm: Vm, run: Run) -> None:
    """Merge the top layers of a running VM's disks into those that nothing else needs."""
    for disk in vm.disks:
        volumes = {volume.path: volume for volume in services.volumes.all()}
        if disk.path not in volumes:  # outside the pool, or gone
            continue
        above: list[Path] = []
        layer = volumes[disk.path]
        while layer.below in volumes and _is_its_own(services, vm, volumes[layer.below]):
            above.append(layer.path)
            layer = volumes[layer.below]
        if above:
            run.detail(f"merging {len(above) + 1} layers of the disk {disk.role}")
            with repair.definition_changes(Machine(services, vm.name)):
                services.disks.commit(vm, disk.role, layer.path)
            saved_states.release(services, above)


def _is_its_own(services: Services, vm: Vm, volume: Volume) -> bool:
    """Whether a layer is this VM's, not its box's or another VM's, and nothing else needs it."""
    users = set(services.volumes.users_of(volume.name))
    return volume.name.startswith(f"{vm.fqdn}-") and users == {vm.fqdn}
