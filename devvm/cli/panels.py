"""The panels of `devvm --help`, and command groups."""

from __future__ import annotations

import typer

VM = "Your VM"
SAFETY = "Snapshots and trash"
INSIDE = "Access"
FLEET = "Fleet"
HOST = "This host"


def group(parent: typer.Typer, name: str, summary: str, panel: str) -> typer.Typer:
    """Add a command group; run by itself, it shows its help.

    Args:
        parent: The app to add it to.
        name: Its name.
        summary: What its commands do, in one line.
        panel: The panel to list it in.
    """
    app = typer.Typer(
        help=summary,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # otherwise a group with a single command would lose its name
    parent.add_typer(app, name=name, rich_help_panel=panel)
    return app
