"""What a VM's run says, as events of its rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devvm.domain.rollout.state import Mark
from devvm.domain.run import PhaseRecord


class VmReporter:
    """Satisfies `Reporter`: phases and notes become events; details are for nobody.

    Args:
        name: The VM.
        note: Writes an event.
    """

    def __init__(self, name: str, note: Callable[..., Any]) -> None:
        self._name = name
        self._note = note

    def phase_started(self, name: str, title: str) -> None:  # noqa: ARG002
        """What is done in the VM now."""
        self._note(Mark.PHASE, self._name, title=title)

    def detail(self, text: str) -> None:
        """Nothing."""

    def phase_finished(self, record: PhaseRecord) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._note(Mark.NOTE, text=text)
