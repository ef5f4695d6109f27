"""`devvm setup`: install what this host lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import options, panels, serializers
from devvm.cli.host import readiness
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.host.setup import HostStatus


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.HOST, epilog="Example:  devvm setup --yes")(setup)


def setup(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only check; exit with 4 if something is missing.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link/--no-link", help="Put devvm on the PATH if it isn't there.")
    ] = True,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Set up this host: system packages, libvirt, groups, the state folder, VM names.

    Shows what it will do and asks once. Safe to run again at any time.
    """
    from devvm import wiring
    from devvm.operations.host import setup as operation

    session = Session.of(context)
    steps = [s for s in wiring.setup_steps(session.config()) if link or not s.optional]
    status = operation.check(steps)
    if check:
        session.output.result(serializers.host(status), lambda: _show(session, status))
        raise typer.Exit(ExitCode.DONE if status.ready else ExitCode.HOST_NOT_READY)
    if not status.complete and readiness.agreed(session, status, yes=yes):
        status = readiness.apply(session, steps)
    elif not status.ready:
        raise operation.not_ready(status)
    session.output.result(serializers.host(status), lambda: _show(session, status))


def _show(session: Session, status: HostStatus) -> None:
    output = session.output
    if status.ready:
        output.line("This host is ready. Next: devvm create")
    else:
        output.line("This host is not ready. Next: devvm setup")
    for line in status.needed():
        output.line(f"  - {line}")
