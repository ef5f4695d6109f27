"""Phases: what a person sees while a long command runs, and what is recorded of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from devvm.domain.run import PhaseRecord, RunRecord
from devvm.system.state import State


class Reporter(Protocol):
    """Shows progress. The CLI has one for terminals, one for plain lines, one that is silent."""

    def phase_started(self, name: str, title: str) -> None:
        """Show that a phase has started."""

    def detail(self, text: str) -> None:
        """Show what is being done in the phase; replaces the last detail."""

    def phase_finished(self, record: PhaseRecord) -> None:
        """Show that the phase has ended, successfully or not."""

    def note(self, text: str) -> None:
        """Show something a person should know, outside any phase."""


_BAR = 20


def bar(done: int, total: int, doing: str, names: Sequence[str]) -> str:
    """The progress of parallel work: `[#####.....] 1 of 2; checking dev2`."""
    full = _BAR * done // total
    some = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"[{'#' * full}{'.' * (_BAR - full)}] {done} of {total}; {doing} {some}"


class Run:
    """One run of a command that changes something: its phases and their durations."""

    def __init__(self, command: str, reporter: Reporter) -> None:
        self.command = command
        self.reporter = reporter
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._start = time.monotonic()
        self._phases: list[PhaseRecord] = []
        self._log: Path | None = None

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """Time the block as a named phase; `title` is for people: "Starting the VM"."""
        self.reporter.phase_started(name, title)
        start = time.monotonic()
        result = "failed"
        try:
            yield
            result = "done"
        finally:
            seconds = round(time.monotonic() - start, 2)
            record = PhaseRecord(name=name, title=title, seconds=seconds, result=result)
            self._phases.append(record)
            self.reporter.phase_finished(record)

    @property
    def seconds(self) -> float:
        """How long the run has taken until now."""
        return time.monotonic() - self._start

    def detail(self, text: str) -> None:
        """Say what is being done now."""
        self.reporter.detail(text)

    def note(self, text: str) -> None:
        """Say something a person should know."""
        self.reporter.note(text)

    def log(self, state: State) -> Path:
        """The file for the raw output of this run's tools; created on first use."""
        if self._log is None:
            self._log = state.new_log(self.command)
        return self._log

    def record(self, result: str) -> RunRecord:
        """The record of this run."""
        return RunRecord(
            command=self.command,
            started_at=self.started_at,
            seconds=round(self.seconds, 2),
            result=result,
            phases=tuple(self._phases),
        )
