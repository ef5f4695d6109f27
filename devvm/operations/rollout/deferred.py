"""A VM that did not run when its rollout came by: brought to the release when it starts."""

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
    """The release that a VM is to be brought to; None where it may stay on its own.

    A pin keeps a rollout from it, but not the end of an update that is half way.
    """
    facts = vm.metadata
    if facts is None or (pins.pinned(facts, today) and not facts.restore_point):
        return None
    return facts.update_to or None


def bring(services: Services, name: str, run: Run, *, by: str) -> update.Updated:
    """Bring a VM that has been started to the release that it is due for.

    What came of it is written in the record of its rollout. Where it failed, the VM is as it was,
    and is not tried again by itself.

    Raises:
        DevvmError: it could not be brought there.
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
    """Do not try it again by itself, unless it is half way there, or in somebody else's hands."""
    with suppress(LockedError), machine.services.state.lock(machine.name, run.command):
        facts = lifecycle.get(machine).metadata
        if facts and not facts.restore_point:
            rollback.no_update(machine)


def _note(
    services: Services, rollout: str, name: str, step: Step, by: str, **facts: object
) -> None:
    """Write in the rollout's record; where that is gone, the VM itself knows."""
    for log in store.every(services):
        if log.id == rollout:
            log.append(Event(at=store.now(), by=by, what=step, vm=name, facts=facts))
