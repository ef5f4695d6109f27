"""Builds a box for a command: in this process as root, otherwise through sudo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from devvm.cli.host import readiness
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode, OperationError, UsageError

if TYPE_CHECKING:
    from devvm.domain.box import Box
    from devvm.ports.services import Services


def release_with_box(
    session: Session, services: Services, *, release: str | None, newest: bool, yes: bool
) -> str | None:
    """Make sure there is a box for a VM; build it if this host has none.

    Returns:
        The release to use for the VM; None for that of the working tree.

    Raises:
        UsageError: both `release` and `newest` are given.
        DevvmError: see `build_box`.
    """
    from devvm import wiring
    from devvm.operations.vm import requirements

    refuse_both(release, newest=newest)
    golden = requirements.find_box(services, release, newest=newest)
    if golden is None:
        session.output.note(
            "This host has no box of this stack yet. Building it takes several minutes, once."
        )
        # A box is checked in a VM of the configured size, not of the size asked for here.
        standard = wiring.build_services(session.config())
        build_box(session, standard, release=release, newest=newest, yes=yes)
        golden = requirements.find_box(services, release, newest=newest)
    return golden.release if newest and golden else release


def build_box(
    session: Session,
    services: Services,
    *,
    release: str | None = None,
    force: bool = False,
    newest: bool = False,
    yes: bool = False,
) -> Box | None:
    """Build the box of the working tree's stack.

    Returns:
        The box; None if a process started with sudo built it.

    Raises:
        HostNotReadyError: the user can't become root.
        DevvmError: the build failed.
        typer.Exit: the build failed in the process started with sudo, which has reported it.
    """
    refuse_both(release, newest=newest)
    if os.geteuid() == 0:
        from devvm import wiring
        from devvm.operations.box import boxes

        builders = wiring.build_box_services(services.config)
        run = session.run("box build")
        return boxes.build(services, builders, run, release=release, force=force, newest=newest)
    readiness.become_root(session, "build a box")
    command = ["box", "build", "--no-result"]
    command += ["--release", release] if release else []
    command += ["--force"] if force else []
    command += ["--newest"] if newest else []
    command += ["--yes"] if yes else []
    command += ["--quiet"] if session.output.quiet else []
    code = _as_root(session, command)
    if code:
        _give_up(session, code)
    return None


def refuse_both(release: str | None, *, newest: bool) -> None:
    """Refuse `--release` together with `--newest`.

    Raises:
        UsageError: both are given.
    """
    if release and newest:
        raise UsageError(
            "--release can't be combined with --newest",
            details="a release has fixed packages; --newest makes another release",
            resolution="use one of them",
        )


def _as_root(session: Session, command: list[str]) -> int:
    """Run devvm as root on this terminal, with the user's configuration."""
    from devvm.system import process

    kept = {
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"),
        **{name: value for name, value in os.environ.items() if name.startswith("DEVVM_")},
    }
    stack = ["--stack", str(session.stack.absolute())] if session.stack else []
    proxies = [name for name in process.PROXIES if name in os.environ]
    preserved = f"--preserve-env={','.join([*kept, *proxies])}"
    return process.interactive(
        ["sudo", preserved, "--", sys.executable, "-m", "devvm", *stack, *command], env=kept
    )


def _give_up(session: Session, code: int) -> None:
    if not session.output.json:
        raise typer.Exit(code)
    error = OperationError(
        "the box could not be built",
        details="see the messages on standard error",
        resolution="sudo devvm box build",
    )
    if code in set(ExitCode):
        error.exit_code = ExitCode(code)
    raise error
