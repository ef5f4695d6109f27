"""The port to what tells people and programs of a rollout. No I/O."""

from __future__ import annotations

from typing import Protocol

from devvm.domain.rollout.message import Message


class Sender(Protocol):
    """One way to tell: a command, a webhook, a chat."""

    @property
    def name(self) -> str:
        """What it is called in a complaint."""

    def send(self, message: Message) -> None:
        """Tell it once.

        Raises:
            DevvmError: it was not told; why.
        """
