"""`devvm version`: the versions of devvm and Python."""

from __future__ import annotations

import platform

import typer

import devvm
from devvm.cli import options, panels
from devvm.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.HOST, epilog="Example:  devvm version --json")(version)


def short() -> str:
    """The version of devvm alone: `devvm 1.2.3`."""
    return f"devvm {devvm.__version__}"


def version(context: typer.Context, json: options.Json = False) -> None:
    """Show the version of devvm; `devvm stack show` shows the stack's."""
    session = Session.of(context)
    data = {"devvm": devvm.__version__, "python": platform.python_version()}
    session.output.result(data, lambda: session.output.line(short()))
