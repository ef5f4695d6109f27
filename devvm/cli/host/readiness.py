"""Checks that this host is ready for a command, or makes it ready after asking once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from devvm.cli.logfile import personal_log
from devvm.domain.errors import HostNotReadyError

if TYPE_CHECKING:
    from devvm.cli.session import Session
    from devvm.config import Config
    from devvm.operations.host.setup import HostStatus
    from devvm.ports.setup import SetupStep

#: Set by bin/devvm if the user has already agreed to set-up: one question is enough.
AGREED = "DEVVM_SETUP_AGREED"
_REGROUPED = "DEVVM_REGROUPED"


def require(session: Session, config: Config) -> None:
    """Check that this host can show and run VMs.

    Raises:
        HostNotReadyError: something is missing; the error lists it.
    """
    from devvm import wiring
    from devvm.operations.host import setup

    setup.require(step for step in wiring.setup_steps(config) if not step.needed_only_to_create)
    _renew_groups(session, config)


def ensure(session: Session, config: Config, *, yes: bool) -> None:
    """Make this host ready to create VMs, after showing what that takes and asking once.

    Raises:
        HostNotReadyError: something is missing, and there is nobody to ask or the answer is no.
    """
    from devvm import wiring
    from devvm.operations.host import setup

    steps = wiring.setup_steps(config)
    status = setup.check(steps)
    if not status.ready:
        if not agreed(session, status, yes=yes):
            raise setup.not_ready(status)
        apply(session, steps)
    _renew_groups(session, config)


def agreed(session: Session, status: HostStatus, *, yes: bool) -> bool:
    """Show what set-up would do, and return whether the user agrees."""
    output = session.output
    already = yes or os.environ.get(AGREED) == "1"
    if not already and not output.can_ask:
        return False
    if not already or not os.environ.get(AGREED):
        output.note("devvm needs to set up this host. It will:")
        for line in status.needed():
            output.item(line)
    return already or output.confirm("Proceed?")


def apply(session: Session, steps: Sequence[SetupStep]) -> HostStatus:
    """Set the host up.

    Raises:
        HostNotReadyError: the user can't become root.
        DevvmError: a step failed.
    """
    from devvm.operations.host import setup

    become_root(session, "set up this host")
    return setup.apply(steps, session.run("setup"), personal_log("setup"))


def become_root(session: Session, purpose: str) -> None:
    """Make sure that `sudo` works without asking from now on; does nothing as root.

    Raises:
        HostNotReadyError: sudo is not installed, or refuses.
    """
    from devvm.system import process

    if os.geteuid() == 0:
        return
    resolution = f"ask an administrator of this host to run: devvm {' '.join(session.argv)}"
    try:
        if process.run(["sudo", "-n", "true"], check=False).returncode == 0:
            return
        if session.output.can_ask:
            session.output.note(f"To {purpose}, devvm needs root.")
            if process.interactive(["sudo", "-v"]) == 0:
                return
    except HostNotReadyError:
        raise HostNotReadyError(
            f"devvm needs root to {purpose}, and sudo is not installed",
            details="you are not root",
            resolution="as root: apt-get install sudo && adduser YOUR-LOGIN sudo",
        ) from None
    raise HostNotReadyError(
        f"devvm needs root to {purpose}",
        details="sudo refused, or needs a password and has no terminal to ask for it",
        resolution=resolution,
    )


def _renew_groups(session: Session, config: Config) -> None:
    """Run the command again under `sg` if the user joined a group after logging in.

    That spares the user a new login.

    Raises:
        HostNotReadyError: the groups are not in effect even then.
        typer.Exit: with the exit code of the command that ran instead.
    """
    from devvm import wiring
    from devvm.system import process

    groups = wiring.groups_not_yet_in_force(config)
    if not groups:
        return
    if os.environ.get(_REGROUPED) == "1":
        raise HostNotReadyError(
            f"you are in the group {' and '.join(groups)}, but not in this session",
            details="a new group takes effect at the next login",
            resolution="log out and in again, then run the command again",
        )
    again = wiring.with_groups([sys.executable, "-m", "devvm", *session.argv], groups)
    kept = {name: value for name, value in os.environ.items() if name.startswith("DEVVM_")}
    raise typer.Exit(process.interactive(again, env={**kept, _REGROUPED: "1", AGREED: "1"}))
