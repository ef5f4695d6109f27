"""Transactions: an operation on a VM is finished or undone, even if it fails or is killed.

Before an operation changes anything, it opens the VM's journal. If it fails, or if it is killed and
the next command on the VM finds the journal, the same function ends it: the `end` next to it, which
is listed in `devvm.operations.recovery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from devvm.domain.errors import OperationError
from devvm.domain.vm import Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import repair

#: Seconds for a guest to shut down before it is turned off.
STOP_TIMEOUT = 90.0

Outcome = Literal["finished", "undone", "left unfinished"]
Journal = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An operation that an earlier command had not ended, and how it was ended now."""

    operation: str
    outcome: Outcome
    journal: Journal

    def done(self, operation: str) -> bool:
        """Whether it was this operation, and was finished, not undone."""
        return self.operation == operation and self.outcome == "finished"

    @property
    def was_running(self) -> bool:
        """Whether the VM ran before that operation began."""
        return bool(self.journal.get("was_running"))


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An operation that has to be ended.

    Attributes:
        machine: The VM.
        journal: Its journal.
        run: Reports the phases.
        killed: Whether it was killed, and another command ends it.
        start: Whether to start the VM again if it ran before.
    """

    machine: Machine
    journal: Journal
    run: Run
    killed: bool
    start: bool

    @property
    def token(self) -> str:
        """The token in the names of all that the operation created."""
        return str(self.journal["token"])


#: Finishes or undoes an operation, wherever it was killed. May be killed itself, and run again.
Ending = Callable[[Begun], Outcome]


@contextmanager
def changing(machine: Machine, run: Run, *, start: bool = True) -> Iterator[Ended | None]:
    """Hold a VM's lock, and first end what an earlier command left unfinished.

    Args:
        machine: The VM.
        run: Reports the phases.
        start: Whether to start the VM again if it ran before. A command that stops it anyway passes
            False, and must start it itself.

    Raises:
        LockedError: another command is changing the VM.
        DevvmError: the operation can't be ended; its journal stays, and the next command tries
            again.
    """
    with machine.services.state.lock(machine.name, run.command):
        yield end(machine, run, start=start)


@contextmanager
def begin(machine: Machine, operation: str, run: Run, **facts: object) -> Iterator[None]:
    """Open a journal for the operation in the block; if the block fails, end the operation.

    Args:
        machine: The VM.
        operation: Its name in `devvm.operations.core.journal`.
        run: Reports the phases.
        facts: What its `end` needs to know.
    """
    machine.services.state.open_journal(machine.name, operation, {"command": run.command, **facts})
    with ended_on_failure(machine, run):
        yield
        machine.services.state.close_journal(machine.name)


@contextmanager
def ended_on_failure(machine: Machine, run: Run) -> Iterator[None]:
    """Finish or undo the operation if the block fails or is interrupted."""
    try:
        yield
    except BaseException as error:
        try:
            ended = end(machine, run, killed=False)
            if ended is not None and ended.outcome == "finished":
                run.note(f"The {ended.operation} of {machine} completed anyway")
        except Exception as second:
            run.note(
                f"Undoing failed too: {second}. Nothing is lost: run the same command again, "
                "or devvm doctor --fix, to finish it"
            )
            raise error from second
        raise


def end(machine: Machine, run: Run, *, killed: bool = True, start: bool = True) -> Ended | None:
    """Finish or undo the VM's unfinished operation; return None if there is none.

    Raises:
        OperationError: a newer devvm started the operation.
        DevvmError: the operation can't be ended; its journal stays, and the next command tries
            again.
    """
    services = machine.services
    journal = machine.journal()
    if journal is None:
        return None
    operation = str(journal["operation"])
    ending = services.endings.get(operation)
    if ending is None:
        raise OperationError(
            f"{machine} is in the middle of an operation that this devvm "
            f"does not know: {operation}",
            details=f"started {journal['started_at']}, perhaps by a newer devvm",
            resolution="finish it with the devvm that started it",
        )
    if killed:
        run.note(
            f"An earlier {operation} of {machine}, started {journal['started_at']}, "
            "has not finished"
        )
        services.volumes.ensure()  # the host may have been restarted since
    begun = Begun(machine=machine, journal=journal, run=run, killed=killed, start=start)
    outcome = ending(begun)
    services.state.close_journal(machine.name)
    saved = machine.folder / repair.DEFINITION  # for a domain that somebody deleted
    if machine.vm() is None and not saved.is_file():
        services.state.forget(machine.name)
    if killed:
        run.note(f"The {operation} of {machine} was {outcome}")
    return Ended(operation=operation, outcome=outcome, journal=journal)


def made_by(vm: Vm, token: str) -> bool:
    """Whether the VM has disks that an operation created."""
    return any(f".{token}." in disk.path.name for disk in vm.disks)


def start_again(begun: Begun) -> None:
    """Start the VM if it ran before the operation, without waiting until it has booted."""
    vm = begun.machine.vm()
    off = vm is not None and vm.state is VmState.SHUTOFF
    if vm is not None and off and begun.start and begun.journal["was_running"]:
        begun.run.note(f"Starting {begun.machine} again, as it was running before")
        begun.machine.reserve_lease(vm.mac)
        begun.machine.services.domains.start(vm)
