"""The question before a command that changes something valuable."""

from __future__ import annotations

from devvm.cli.session import Session
from devvm.domain.errors import UsageError


def confirm(session: Session, what: str, again: str) -> None:
    """Say what is about to happen, and ask whether to continue.

    Args:
        session: The session of the command.
        what: What is about to happen, in whole sentences.
        again: The command line that does it without asking.

    Raises:
        UsageError: there is nobody to ask, or the answer is no.
    """
    if not session.output.can_ask:
        raise UsageError(
            "this needs confirmation",
            details=f"{what} devvm can only ask on a terminal, and without --json.",
            resolution=again,
        )
    session.output.note(what)
    if not session.output.confirm("Continue?"):
        raise UsageError("nothing was changed", resolution=again)
