"""Keeps the chains of layers short, and lets go of what has expired."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from devvm.errors import DevvmError, LockedError
from devvm.model import ROOT, Kept, Purpose, Vm, VmState
from devvm.operations import keeping
from devvm.operations.ports import Services
from devvm.operations.progress import Run


def tidy(services: Services, name: str, run: Run) -> None:
    """Let go of what has expired, and merge layers of a running VM that nothing else needs.

    Never fails: it is for later, and is tried again by the next operation. The caller holds the
    VM's lock; what has expired of others that somebody works on is left for later, too.
    """
    try:
        for other in sorted({kept.vm.name for kept in expired(services)}):
            held = nullcontext() if other == name else services.state.lock(other, run.command)
            with suppress(LockedError), held:
                _let_go(services, other, run)
        vm = services.hypervisor.vm(name)
        if vm is not None and vm.state is VmState.RUNNING:
            merge(services, vm, run)
    except DevvmError as error:
        run.note(f"Tidying up after {name} is left for later: {error}")


def _let_go(services: Services, name: str, run: Run) -> None:
    if services.state.journal(name) is not None:
        return
    for kept in expired(services):
        if kept.vm.name == name and keeping.find(services, kept.id) is not None:
            purge(services, kept)
            run.note(f"Deleted for good, as it had expired: {name}, {kept.label}")


def expired(services: Services) -> list[Kept]:
    """What lies in the trash for longer than it is kept."""
    now = datetime.now(UTC)
    return [
        kept
        for kept in services.hypervisor.kept()
        if kept.purpose is Purpose.TRASH
        and kept.expires_at
        and datetime.fromisoformat(kept.expires_at) <= now
    ]


def purge(services: Services, kept: Kept) -> list[str]:
    """Delete a kept state for good; with a VM that was destroyed, its snapshots.

    Returns:
        The volumes that are gone. Those that something else needs stay.
    """
    doomed = [kept]
    if kept.destroyed:
        doomed += [
            other
            for other in keeping.of_vm(services, kept.vm.name, Purpose.SNAPSHOT)
            if other.uuid == kept.uuid
        ]
    paths: set[Path] = set()
    for state in doomed:
        paths |= keeping.layers_under(services, state.disks)
    for state in reversed(doomed):  # the destroyed VM last: killed before, it can be purged again
        keeping.forget_kept(services, state)
    return keeping.release(services, paths)


def merge(services: Services, vm: Vm, run: Run) -> None:
    """Take what lies under a running VM's persistent disks, and nobody else's, into their top."""
    for disk in vm.disks:
        if disk.role == ROOT:  # on its box, and replaced whole
            continue
        volumes = {volume.path: volume for volume in services.hypervisor.volumes()}
        needed = {
            layer
            for kept in services.hypervisor.kept()
            for layer in keeping.layers_under(services, kept.disks)
        } | {
            layer
            for other in services.hypervisor.vms()
            if other.uuid != vm.uuid
            for layer in keeping.layers_under(services, other.disks)
        }
        own: list[Path] = []
        base = volumes[disk.path].below if disk.path in volumes else None
        while base is not None and base not in needed and base in volumes:
            own.append(base)
            base = volumes[base].below
        if own:
            run.detail(f"merging {len(own) + 1} layers of {disk.path.name}")
            services.hypervisor.absorb_layers(vm, disk.role, base)
            keeping.release(services, own)
