"""The one question before something that a person may not want."""

from __future__ import annotations

from devvm.cli.session import Session
from devvm.domain.errors import UsageError


def confirm(session: Session, what: str, again: str) -> None:
    """Say what is about to happen, and ask whether to go on.

    Args:
        session: The command's.
        what: What is about to happen: whole sentences.
        again: The command that does it without asking.

    Raises:
        UsageError: nobody is there to be asked, or the answer is no.
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
