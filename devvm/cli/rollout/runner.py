"""Runs a rollout: the engine in a thread, output and interrupts in the main thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import TYPE_CHECKING, Any

from devvm.cli.rollout import sentences
from devvm.cli.session import Session

if TYPE_CHECKING:
    from devvm.cli.rollout.text import Lines
    from devvm.domain.rollout.state import Record
    from devvm.operations.rollout.control import Make
    from devvm.operations.rollout.engine import Rollout
    from devvm.operations.rollout.store import RolloutLog
    from devvm.ports.services import Services

#: Seconds between two reads of the record.
_LOOK_EVERY = 0.5


class RolloutRunner:
    """Runs one rollout, shows its progress and handles interrupts.

    The first Ctrl-C pauses the rollout once the updates in progress are done. The second only
    prints a message (`app.py`). The third stops those updates, and their VMs are restored.

    Args:
        session: The session of the command.
        services: For the rollout.

    Attributes:
        interrupted: How many interrupts it has received.
    """

    def __init__(self, session: Session, services: Services) -> None:
        from devvm import wiring

        self._session = session
        self._services = services
        self._by = wiring.invoker().login
        self._messenger = wiring.messenger(services.config)
        self._rollout: Rollout | None = None
        self.interrupted = 0

    def run(self, work: Callable[[Make], object], *, since: Record | None = None) -> Rollout:
        """Work on a rollout until the work ends.

        Args:
            work: Does the work, in another thread; takes a function that makes the rollout.
            since: The record of the rollout before the work; None if it is new.

        Returns:
            The rollout.

        Raises:
            DevvmError: raised by the work.
        """
        from devvm.cli.rollout.text import Lines, Picture

        output = self._session.output
        lines = Lines(self._tell, since=since, notes_only=output.shows_live)
        pool = ThreadPoolExecutor(max_workers=1)
        future = pool.submit(work, self._make)
        try:
            with output.live(Picture(self._look)):
                while not future.done():
                    self._wait(future, lines)
        finally:
            self._pause()  # if this thread ends before the work: let that end soon, and cleanly
            pool.shutdown(wait=False)
        future.result()
        assert self._rollout is not None
        lines.look(self._rollout.ledger.record)
        return self._rollout

    def _make(self, log: RolloutLog) -> Rollout:
        from devvm import wiring
        from devvm.operations.rollout.engine import Clock, Rollout

        zone = wiring.local_zone()
        self._rollout = rollout = Rollout(
            services=self._services,
            log=log,
            by=self._by,
            messenger=self._messenger,
            clock=Clock(now=lambda: datetime.now(zone)),
        )
        if self.interrupted:
            self._pause()
        return rollout

    def _look(self) -> Record | None:
        return self._rollout.ledger.record if self._rollout else None

    def _tell(self, line: str) -> None:
        if not self._session.output.quiet:
            self._session.output.note(line, style="dim")

    def _wait(self, future: Future[Any], lines: Lines) -> None:
        try:
            wait([future], timeout=_LOOK_EVERY)
            if record := self._look():
                lines.look(record)
        except KeyboardInterrupt:
            self.interrupted += 1
            self._interrupt()

    def _interrupt(self) -> None:
        from devvm.system import process

        note = self._session.output.note
        if self.interrupted > 1:  # the user's third: the second never gets past app.py
            if self._rollout:
                self._rollout.stopped.set()
            process.kill_commands_of_other_threads()
            note("Stopped work in progress on VMs; they are being restored.")
            return
        self._pause()
        note(f"{self._what_now()} Press Ctrl-C twice more to stop work on VMs immediately.")

    def _what_now(self) -> str:
        """What the first interrupt does, in a sentence."""
        from devvm.domain.rollout.state import State, VmState

        record = self._look()
        if record is None:
            return "Nothing has started."
        if record.state is not State.RUNNING:
            return f"The rollout is {record.state} and finishes that first."
        names = [vm.name for vm in record.vms.values() if vm.state is VmState.UPDATING]
        if not names:
            return "Pausing."
        return (
            f"Pausing once {sentences.names(names)} {'is' if len(names) == 1 else 'are'} done. "
            "To continue then: devvm rollout resume."
        )

    def _pause(self) -> None:
        if self._rollout:
            self._rollout.interrupted.set()
