"""`devvm version`: which devvm, which stack, on what."""

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
    """The version alone."""
    return f"devvm {devvm.__version__}"


def version(context: typer.Context, json: options.Json = False) -> None:
    """Show the version of devvm and the hash of the stack that it carries."""
    from devvm.release import content_hash

    session = Session.of(context)
    data = {
        "devvm": devvm.__version__,
        "stack": content_hash(),
        "python": platform.python_version(),
    }
    session.output.result(data, lambda: session.output.line(f"{short()}, stack {data['stack']}"))
