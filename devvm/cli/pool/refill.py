"""Has the pool filled in the background: once, beside other commands, and by a timer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from devvm.domain.errors import DevvmError

if TYPE_CHECKING:
    from devvm.cli.session import Session
    from devvm.ports.services import Services


def start(session: Session, services: Services) -> bool:
    """Start to fill the pool in the background, if something is left to do and nobody does it.

    Returns:
        Whether it was started.
    """
    from devvm.operations.pool import pool, sizes
    from devvm.system import process

    try:
        if not sizes.read(services).spares:
            return False
        found = pool.look(services)
    except DevvmError as error:
        session.output.note(f"The pool is not filled: {error}")
        return False
    if found.right or found.filling:
        return False
    process.detached([sys.executable, "-m", "devvm", "pool", "fill", "--quiet"])
    return True


def set_timer(session: Session, *, on: bool) -> None:
    """Install or remove the timer that fills the pool, where there is systemd."""
    from devvm import wiring

    timer = wiring.pool_timer()
    if not timer.possible() or (timer.installed() if on else not timer.there()):
        return
    try:
        timer.install() if on else timer.remove()
    except DevvmError as error:
        session.output.note(
            f"{'The pool has no timer' if on else 'The timer stays'}: {error.brief}. "
            "Next: run this command as root"
        )
