"""Where `devvm --help` lists commands, and the commands that have others below them."""

from __future__ import annotations

import typer

VM = "Your VM"
SAFETY = "Snapshots and trash"
INSIDE = "Access"
FLEET = "Fleet"
HOST = "This host"


def group(parent: typer.Typer, name: str, summary: str, panel: str) -> typer.Typer:
    """A command that only has others below it; without one, it shows its help.

    Args:
        parent: Gets it.
        name: Its name.
        summary: What its commands do, in a line.
        panel: Where it is listed.
    """
    app = typer.Typer(
        help=summary,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # one command alone would otherwise swallow the group's name
    parent.add_typer(app, name=name, rich_help_panel=panel)
    return app
