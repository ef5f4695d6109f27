"""`pin`, `unpin`: until when no rollout changes a VM, by whom and why; kept in its domain."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from devvm.domain.errors import OperationError, UsageError
from devvm.domain.vm import Metadata, Vm
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services
from devvm.system.state import write_atomic

#: Days that a pin holds at most: one that nobody thinks of any more ends by itself.
DAYS = 90
#: Characters of a reason: it is shown in a line with other things.
_REASON_MAX = 200


def pin(
    services: Services, name: str, *, until: date, reason: str, by: str, today: date, command: str
) -> Vm:
    """Keep rollouts from a VM for a while, in place of an earlier pin; the VM.

    Args:
        services: Where.
        name: The VM.
        until: The last day that the pin holds.
        reason: Why, in a line.
        by: The login of who wants it.
        today: The day.
        command: What was typed, told to others who want to change the VM now.

    Raises:
        UsageError: the day is over or too far away, or the reason is not a line of text.
        NotFoundError: there is no such VM.
        LockedError: somebody is changing it.
        OperationError: it is not whole, so that nothing can be noted in it.
    """
    if until < today:
        raise UsageError(
            f"{until} is in the past",
            resolution=f"give a future day, as in --until {today + timedelta(days=7)}",
        )
    if until > (last := today + timedelta(days=DAYS)):
        raise UsageError(
            f"{until} is too far away: a pin lasts at most {DAYS} days",
            resolution=f"--until {last}; you can pin it again after that",
        )
    line = _line(reason)
    with services.state.lock(name, command):
        vm, facts = _whole(Machine(services, name))
        facts = replace(facts, pinned_until=until.isoformat(), pinned_by=by, pin_reason=line)
        return _note(services, vm, facts)


def unpin(services: Services, name: str, *, command: str) -> tuple[Vm, bool]:
    """Let rollouts change a VM again; the VM, and whether there was a pin to take away.

    Raises:
        NotFoundError: there is no such VM.
        LockedError: somebody is changing it.
        OperationError: it is not whole, so that nothing can be noted in it.
    """
    with services.state.lock(name, command):
        vm, facts = _whole(Machine(services, name))
        if not facts.pinned_until:
            return vm, False
        facts = replace(facts, pinned_until="", pinned_by="", pin_reason="")
        return _note(services, vm, facts), True


def pinned(metadata: Metadata | None, today: date) -> str | None:
    """Until when, by whom and why a VM is pinned, in a line; None where it is not, or no more."""
    if metadata is None or metadata.pinned_until < today.isoformat():
        return None
    return f"pinned until {metadata.pinned_until} by {metadata.pinned_by}: {metadata.pin_reason}"


def _line(reason: str) -> str:
    line = reason.strip()
    if not line:
        raise UsageError("a pin needs a reason", resolution="--reason 'demo on Friday'")
    if not line.isprintable():  # neither XML nor a table has a place for them
        raise UsageError(
            "a pin's reason is one line of text",
            details="it has a line break or control characters in it",
            resolution="--reason 'demo on Friday'",
        )
    if len(line) > _REASON_MAX:
        raise UsageError(
            f"a pin's reason has at most {_REASON_MAX} characters, and this one has {len(line)}",
            resolution="--reason 'demo on Friday'",
        )
    return line


def _whole(machine: Machine) -> tuple[Vm, Metadata]:
    """A VM that facts can be noted in, and that no operation gives other ones when it ends."""
    vm = lifecycle.present(machine)
    if begun := machine.journal():
        raise OperationError(
            f"a {begun['operation']} of {machine} has not finished",
            details=f"it was started {begun['started_at']}, and killed",
            resolution="devvm doctor --fix",
        )
    if vm.metadata is None or not vm.metadata.ready:
        raise OperationError(
            f"{machine} is unfinished: its create was killed",
            resolution=f"to finish it: devvm create {machine}; to remove it: "
            f"devvm destroy {machine}",
        )
    return vm, vm.metadata


def _note(services: Services, vm: Vm, facts: Metadata) -> Vm:
    services.domains.set_metadata(vm.uuid, facts)
    # and where it is read from when somebody deletes the domain
    saved = services.state.vm(vm.name) / ssh.DEFINITION
    write_atomic(saved, services.domains.definition(vm.fqdn))
    return lifecycle.get(Machine(services, vm.name))
