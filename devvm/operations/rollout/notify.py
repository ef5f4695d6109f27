"""Notify people of a rollout; a sender that fails neither stops nor delays the rollout."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from devvm.domain.errors import DevvmError
from devvm.domain.rollout.message import Message, one_line
from devvm.ports.messenger import Sender

#: Seconds to wait for senders. Each has a shorter timeout of its own; this one is for what those
#: don't cover, such as a name server that doesn't respond.
_PATIENCE = 20.0


class Messenger:
    """Sends messages through all senders at once.

    Args:
        senders: The configured senders; may be empty.
        patience: Seconds to wait for all of them together.
    """

    def __init__(self, senders: Sequence[Sender], *, patience: float = _PATIENCE) -> None:
        self._senders = tuple(senders)
        self._patience = patience

    def tell(self, message: Message) -> list[str]:
        """Send a message; return one line for each sender that failed.

        Never raises, and returns within seconds: a rollout doesn't depend on its notifications.
        """
        complaints: dict[int, str] = {}
        threads = [
            # A daemon, as a sender that hangs must not keep devvm from exiting.
            threading.Thread(
                target=_tell, args=(sender, message, complaints, number), daemon=True
            )
            for number, sender in enumerate(self._senders)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + self._patience
        found = []
        for number, thread in enumerate(threads):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                found.append(
                    f"{self._senders[number].name}: not finished after {self._patience:g} s"
                )
            elif number in complaints:
                found.append(complaints[number])
        return found


def try_out(messenger: Messenger, by: str) -> list[str]:
    """Send a test message.

    Args:
        messenger: Sends it.
        by: The person's login.

    Returns:
        One line for each sender that failed.
    """
    return messenger.tell(
        Message(
            kind="start",
            rollout="test",
            release="test",
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=by,
            text="devvm: a test message",
        )
    )


def _tell(sender: Sender, message: Message, complaints: dict[int, str], number: int) -> None:
    try:
        sender.send(message)
    except DevvmError as error:
        reason = (error.details or "").strip().splitlines()[-1:]
        complaints[number] = one_line(": ".join([sender.name, error.brief, *reason]))
    except Exception as error:  # a bug in a sender must not stop the rollout
        # Not the error's text, which may contain a token or a password.
        complaints[number] = f"{sender.name}: a bug in devvm ({type(error).__name__})"
