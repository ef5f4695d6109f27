"""Building a box from a command: in this process for root, through sudo for others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from devvm.cli import readiness
from devvm.cli.session import Session
from devvm.errors import ExitCode, OperationError

if TYPE_CHECKING:
    from devvm.operations.ports import Services


def build_box(
    session: Session,
    services: Services,
    *,
    release: str | None = None,
    force: bool = False,
    yes: bool = False,
) -> None:
    """Build the box of this devvm's stack.

    Raises:
        HostNotReadyError: this person may not become root.
        DevvmError: the build failed.
        typer.Exit: it failed in the process that sudo started, which has said so already.
    """
    if os.geteuid() == 0:
        from devvm import wiring
        from devvm.operations import box

        builders = wiring.build_box_services(services.config)
        box.build(services, builders, session.run("box build"), release=release, force=force)
        return
    readiness.become_root(session, "build a box")
    command = ["box", "build", "--no-result"]
    command += ["--release", release] if release else []
    command += ["--force"] if force else []
    command += ["--yes"] if yes else []
    command += ["--quiet"] if session.output.quiet else []
    code = _as_root(command)
    if code:
        _give_up(session, code)


def _as_root(command: list[str]) -> int:
    """Run devvm as root with this person's configuration, on this terminal."""
    from devvm import process

    kept = {
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"),
        **{name: value for name, value in os.environ.items() if name.startswith("DEVVM_")},
    }
    proxies = [name for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ]
    preserved = f"--preserve-env={','.join([*kept, *proxies])}"
    return process.interactive(
        ["sudo", preserved, "--", sys.executable, "-m", "devvm", *command], env=kept
    )


def _give_up(session: Session, code: int) -> None:
    if not session.output.json:
        raise typer.Exit(code)
    error = OperationError(
        "the box could not be built",
        details="the messages on standard error say why",
        resolution="sudo devvm box build",
    )
    if code in set(ExitCode):
        error.exit_code = ExitCode(code)
    raise error
