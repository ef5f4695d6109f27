"""`pin`, `unpin`: exclude a VM from rollouts for a while."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from devvm.cli import formatting, options, panels, serializers
from devvm.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        rich_help_panel=panels.FLEET,
        epilog="Example:  devvm pin dev1 --until $(date -d friday +%F) --reason 'demo on Friday'",
    )(pin)
    app.command(rich_help_panel=panels.FLEET, epilog="Example:  devvm unpin dev1")(unpin)


def pin(
    context: typer.Context,
    until: Annotated[
        datetime,
        typer.Option(
            "--until", metavar="DATE", formats=["%Y-%m-%d"], show_default=False,
            help="Last day of the pin, as YYYY-MM-DD; at most 90 days ahead.",
        ),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", show_default=False, help="Why, in one line.")
    ],
    name: options.Name = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Exclude a VM from rollouts until the end of a day; replaces an earlier pin."""
    from devvm import wiring
    from devvm.operations.rollout import pins

    session = Session.of(context)
    vm_name, today = session.vm_name(name), formatting.today()
    machine = pins.pin(
        session.services(),
        vm_name,
        until=until.date(),
        reason=reason,
        by=wiring.invoker().login,
        today=today,
        command=f"pin {vm_name}",
    )
    session.output.result(
        {"vm": serializers.vm(machine)},
        lambda: session.output.line(f"{vm_name} is {pins.pinned(machine.metadata, today)}"),
    )


def unpin(context: typer.Context, name: options.Name = None, json: options.Json = False) -> None:
    """Let rollouts update a VM again."""
    from devvm.operations.rollout import pins

    session = Session.of(context)
    vm_name = session.vm_name(name)
    machine, was_pinned = pins.unpin(session.services(), vm_name, command=f"unpin {vm_name}")
    said = "is no longer pinned" if was_pinned else "was not pinned"
    session.output.result(
        {"vm": serializers.vm(machine), "was_pinned": was_pinned},
        lambda: session.output.line(f"{vm_name} {said}"),
    )
