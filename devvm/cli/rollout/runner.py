"""Carries a rollout out: the engine in a thread, what a person sees and says in the main one."""

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

#: Seconds between two looks at how far it is, where it is told in lines.
_LOOK_EVERY = 0.5


class Carrier:
    """Carries one rollout out, and lets a person see it and interrupt it.

    Ctrl-C once: it pauses as soon as no VM is half way there. A second one is answered by devvm
    itself; with the third, what is being done to VMs is stopped, and they are put back.

    Args:
        session: The command's.
        services: What operations may use.

    Attributes:
        interrupted: How often the person has interrupted it.
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
        """Do some work on a rollout to its end.

        Args:
            work: Does it, in another thread, with the rollout that it has made for it.
            since: How the rollout was before; None: it is new.

        Returns:
            The rollout.

        Raises:
            DevvmError: what the work raises.
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
            self._pause()  # where this ends before the work: it is to end soon, and in order
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
        if self.interrupted > 1:  # for devvm the third: it keeps the second from us
            if self._rollout:
                self._rollout.stopped.set()
            process.kill_those_of_other_threads()
            note("Stopped work in progress on VMs; they are being restored.")
            return
        self._pause()
        note(f"{self._what_now()} Press Ctrl-C twice more to stop work on VMs immediately.")

    def _what_now(self) -> str:
        """What an interrupt comes to."""
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
