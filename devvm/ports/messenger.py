"""The port for notifications about rollouts. No I/O."""

from __future__ import annotations

from typing import Protocol

from devvm.domain.rollout.message import Message


class Sender(Protocol):
    """One way to notify: a command, a webhook, a chat."""

    @property
    def name(self) -> str:
        """The name that error messages use for it."""

    def send(self, message: Message) -> None:
        """Send the message once.

        Raises:
            DevvmError: the message was not delivered.
        """
