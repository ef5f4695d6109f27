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


class Messenger(Protocol):
    """All the ways that are configured."""

    def tell(self, message: Message) -> list[str]:
        """Tell all of them; what went wrong, a line for each that was not told.

        Never raises, and returns within seconds: a rollout goes on whether it is heard or not.
        """
