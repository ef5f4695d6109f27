"""`pin`, `unpin`: keep rollouts from changing a VM. Pins are part of the VM's metadata."""

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

#: Days that a pin lasts at most, so that a forgotten one expires.
DAYS = 90
#: Characters of a reason at most: it is shown on one line with other things.
_REASON_MAX = 200


def pin(
    services: Services, name: str, *, until: date, reason: str, by: str, today: date, command: str
) -> Vm:
    """Pin a VM, replacing an earlier pin; return the VM.

    Args:
        services: The adapters to use.
        name: The VM.
        until: The last day of the pin.
        reason: Why, in one line.
        by: Login of the person who pins it.
        today: Today's date.
        command: What was typed, shown to whoever finds the VM locked.

    Raises:
        UsageError: the day is past or too far away, or the reason is not one line of text.
        NotFoundError: there is no such VM.
        LockedError: another command is changing the VM.
        OperationError: the VM is unfinished, or an operation on it is.
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
    """Unpin a VM; return the VM, and whether it had a pin.

    Raises:
        NotFoundError: there is no such VM.
        LockedError: another command is changing the VM.
        OperationError: the VM is unfinished, or an operation on it is.
    """
    with services.state.lock(name, command):
        vm, facts = _whole(Machine(services, name))
        if not facts.pinned_until:
            return vm, False
        facts = replace(facts, pinned_until="", pinned_by="", pin_reason="")
        return _note(services, vm, facts), True


def pinned(metadata: Metadata | None, today: date) -> str | None:
    """Until when, by whom and why a VM is pinned, in one line; None if it isn't."""
    if metadata is None or metadata.pinned_until < today.isoformat():
        return None
    return f"pinned until {metadata.pinned_until} by {metadata.pinned_by}: {metadata.pin_reason}"


def _line(reason: str) -> str:
    line = reason.strip()
    if not line:
        raise UsageError("a pin needs a reason", resolution="--reason 'demo on Friday'")
    if not line.isprintable():  # neither XML nor a table can hold control characters
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
    """The VM and its metadata, which no unfinished operation is going to overwrite."""
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
    # also in the copy that is used if somebody deletes the domain
    saved = services.state.vm(vm.name) / ssh.DEFINITION
    write_atomic(saved, services.domains.definition(vm.fqdn))
    return lifecycle.get(Machine(services, vm.name))
