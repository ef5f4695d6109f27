"""Telling of a rollout in every way that is configured; none of them can stop it or hold it up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from devvm.domain.errors import DevvmError
from devvm.domain.rollout.message import Message, one_line
from devvm.ports.messenger import Sender

#: Seconds until a sender is no longer waited for. Each gives up by itself sooner; this is for what
#: no timeout reaches, such as a name server that is silent.
_PATIENCE = 20.0


class Messenger:
    """Tells all senders at once.

    Args:
        senders: Those that are configured; may be none.
        patience: Seconds that all of them together are waited for.
    """

    def __init__(self, senders: Sequence[Sender], *, patience: float = _PATIENCE) -> None:
        self._senders = tuple(senders)
        self._patience = patience

    def tell(self, message: Message) -> list[str]:
        """Tell all of them; what went wrong, a line for each that was not told.

        Never raises, and returns within seconds: a rollout goes on whether it is heard or not.
        """
        complaints: dict[int, str] = {}
        threads = [
            # A daemon: one that hangs must not keep devvm from ending either.
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
    """Send a test message, for a person who tries their settings.

    Args:
        messenger: Who is to tell it.
        by: The person's login.

    Returns:
        What went wrong, a line for each sender that failed.
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
    except Exception as error:  # a defect of a sender is not the rollout's
        # Not its text, which may have what was sent: a token, a password.
        complaints[number] = f"{sender.name}: a bug in devvm ({type(error).__name__})"
