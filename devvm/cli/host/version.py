"""`devvm version`: the versions of devvm, its stack and Python."""

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
    """Show the version of devvm and the hash of its stack.

    Also shows the hash of the release, if packages.lock fixes the packages.
    """
    from devvm.operations.core import working_tree

    session = Session.of(context)
    stack = working_tree.look()
    data = {
        "devvm": devvm.__version__,
        "stack": stack.content,
        "release": stack.hash,
        "python": platform.python_version(),
    }
    fixed = f", release {stack.hash}" if stack.hash else ""
    session.output.result(
        data, lambda: session.output.line(f"{short()}, stack {stack.content}{fixed}")
    )
