"""Update a VM that was off when its rollout reached it, at its next start."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from devvm.domain.errors import DevvmError, LockedError
from devvm.domain.rollout.state import Event
from devvm.domain.rollout.state import VmState as Step
from devvm.domain.vm import Vm
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.rollout import pins, store, vm_step
from devvm.operations.update import rollback, update
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


def due(vm: Vm, today: date) -> str | None:
    """The release that a VM is due for; None if it isn't due.

    A pin holds off a rollout, but not the rest of an update that has begun.
    """
    facts = vm.metadata
    if facts is None or (pins.pinned(facts, today) and not facts.restore_point):
        return None
    return facts.update_to or None


def bring(services: Services, name: str, run: Run, *, by: str) -> update.Updated:
    """Update a VM that has been started to the release that it is due for.

    The result is added to the rollout's record. If the update fails, the VM is as before, and the
    next start doesn't try again.

    Raises:
        DevvmError: the update failed.
    """
    machine = Machine(services, name)
    vm = lifecycle.running(machine)
    rollout, release = vm.known.update_by, vm.known.update_to
    start = run.seconds
    try:
        request = update.UpdateRequest(name=name, release=release)
        updated = update.update(services, request, run)
    except DevvmError as error:
        _forget(machine, run)
        log = str(error.log) if error.log else ""
        facts = {"why": error.brief, "failure": error.failure, "log": log}
        _note(services, rollout, name, Step.FAILED, by, **facts)
        raise
    facts = vm_step.done(updated, run.seconds - start)
    _note(services, rollout, name, Step.DONE, by, **facts)
    return updated


def _forget(machine: Machine, run: Run) -> None:
    """Cancel the update, unless it is half done or the VM is locked."""
    with suppress(LockedError), machine.services.state.lock(machine.name, run.command):
        facts = lifecycle.get(machine).metadata
        if facts and not facts.restore_point:
            rollback.no_update(machine)


def _note(
    services: Services, rollout: str, name: str, step: Step, by: str, **facts: object
) -> None:
    """Add an event to the rollout's record, if that still exists."""
    for log in store.every(services):
        if log.id == rollout:
            log.append(Event(at=store.now(), by=by, what=step, vm=name, facts=facts))
