"""Record the progress of a VM's update as events of its rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devvm.domain.rollout.state import Mark
from devvm.domain.run import PhaseRecord


class VmReporter:
    """A `Reporter` that records phases and notes as events, and drops details.

    Args:
        name: The VM.
        note: Records an event.
    """

    def __init__(self, name: str, note: Callable[..., Any]) -> None:
        self._name = name
        self._note = note

    def phase_started(self, name: str, title: str) -> None:  # noqa: ARG002
        """Record what is being done in the VM."""
        self._note(Mark.PHASE, self._name, title=title)

    def detail(self, text: str) -> None:
        """Do nothing."""

    def phase_finished(self, record: PhaseRecord) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Record something a person should know."""
        self._note(Mark.NOTE, text=text)
