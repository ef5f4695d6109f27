"""An operation on a VM is done or undone, whenever it fails or is killed.

Before it changes anything it writes down what it begins, in the VM's journal. One that fails ends
by the same code as one that was killed and is found by the next command, whichever that is: by the
function that stands beside it (`end`), in the table of `devvm.operations.recovery`.
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

#: Seconds for a guest to shut down in order before its plug is pulled.
STOP_TIMEOUT = 90.0

Outcome = Literal["finished", "undone"]
Journal = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What an earlier command had begun, and how it was ended."""

    operation: str
    outcome: Outcome
    journal: Journal

    def done(self, operation: str) -> bool:
        """Whether it was this operation, and all that was left of it was to end it."""
        return self.operation == operation and self.outcome == "finished"

    @property
    def was_running(self) -> bool:
        """Whether the VM ran before that operation began."""
        return bool(self.journal.get("was_running"))


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What an operation has begun, to be ended.

    Attributes:
        machine: The VM.
        journal: What it wrote down.
        run: Where phases go.
        killed: Whether it was killed, and another command ends it.
        start: Whether to start a VM again that ran before.
    """

    machine: Machine
    journal: Journal
    run: Run
    killed: bool
    start: bool

    @property
    def token(self) -> str:
        """What all that the operation made has in its name."""
        return str(self.journal["token"])


#: Finishes or undoes what was begun, from any state that a killed command left. It may be killed,
#: and run again.
Ending = Callable[[Begun], Outcome]


@contextmanager
def changing(machine: Machine, run: Run, *, start: bool = True) -> Iterator[Ended | None]:
    """Hold a VM's lock, and first end what an earlier command had begun and not ended.

    Args:
        machine: The VM.
        run: Where phases go.
        start: Whether to start a VM again that ran before; not worth it where the command is to
            stop it, which then has to see to it itself.

    Raises:
        LockedError: somebody is changing this VM.
        DevvmError: it can't be ended; the journal stays, and the next command tries again.
    """
    with machine.services.state.lock(machine.name, run.command):
        yield end(machine, run, start=start)


@contextmanager
def begin(machine: Machine, operation: str, run: Run, **facts: object) -> Iterator[None]:
    """Write down what is begun; the block does it. If it fails or is interrupted, it is ended.

    Args:
        machine: The VM.
        operation: Which, by its name in `devvm.operations.core.journal`.
        run: Where phases go.
        facts: What its `end` has to know.
    """
    machine.services.state.open_journal(machine.name, operation, {"command": run.command, **facts})
    with ended_on_failure(machine, run):
        yield
        machine.services.state.close_journal(machine.name)


@contextmanager
def ended_on_failure(machine: Machine, run: Run) -> Iterator[None]:
    """End the operation, one way or the other, when the block fails or is interrupted."""
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
    """End the VM's unfinished operation; None if there is none.

    Raises:
        OperationError: it is an operation of a newer devvm.
        DevvmError: it can't be ended; the journal stays, and the next command tries again.
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
    saved = machine.folder / repair.DEFINITION  # of a domain that somebody deleted
    if machine.vm() is None and not saved.is_file():
        services.state.forget(machine.name)
    if killed:
        run.note(f"The {operation} of {machine} was {outcome}")
    return Ended(operation=operation, outcome=outcome, journal=journal)


def made_by(vm: Vm, token: str) -> bool:
    """Whether the VM's disks are what an operation made."""
    return any(f".{token}." in disk.path.name for disk in vm.disks)


def start_again(begun: Begun) -> None:
    """Power the VM on if it ran before the operation; nobody waits for it."""
    vm = begun.machine.vm()
    off = vm is not None and vm.state is VmState.SHUTOFF
    if vm is not None and off and begun.start and begun.journal["was_running"]:
        begun.run.note(f"Starting {begun.machine} again, as it was running before")
        begun.machine.reserve_lease(vm.mac)
        begun.machine.services.domains.start(vm)
