"""`devvm production ...`: describe production, and allow VMs to differ from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from devvm.cli import formatting, options, panels
from devvm.cli.production import capture, manifests
from devvm.cli.session import Session

#: How many days a waiver is valid by default.
_DAYS = 90


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(
        parent, "production", "Describe production, and allow VMs to differ from it.", panels.HOST
    )
    capture.register(app)
    manifests.register(app)
    app.command(
        epilog="Example:  devvm production waive sysctl/vm.swappiness "
        "--reason 'VMs have little memory'"
    )(waive)


def waive(
    context: typer.Context,
    check: Annotated[
        str,
        typer.Argument(
            metavar="CHECK", show_default=False,
            help="Name of a check, or a shell pattern: 'setting/redis/*'.",
        ),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", show_default=False, help="Why, in one line.")
    ],
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until", formats=["%Y-%m-%d"], show_default=False,
            help=f"Last day of the waiver; defaults to {_DAYS} days from now.",
        ),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner", metavar="WHO", show_default=False,
            help="Who is responsible for it; defaults to you.",
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine", metavar="NAME", show_default=False,
            help="Name of a machine that it applies to, or a pattern; repeatable. Defaults to all.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Allow a difference from production for a while, in production/waivers.yml.

    `devvm verify` reports the difference as waived. A waiver that has expired, or that no longer
    matches a check, is itself a failure.
    """
    from devvm import wiring
    from devvm.operations.production import waivers as operation

    session = Session.of(context)
    today = datetime.now(UTC).date()
    waiver = operation.Waiver(
        check=check,
        reason=reason,
        owner=owner or wiring.invoker().login,
        until=until.date() if until else today + timedelta(days=_DAYS),
        machines=tuple(machine or ()),
    )
    config = session.config()
    file = wiring.production(config) / "waivers.yml"
    matched = operation.waive(file, waiver, wiring.checks_of_the_suite(config), today)
    session.output.result(
        {
            "check": check,
            "checks": matched,
            "until": waiver.until.isoformat(),
            "owner": waiver.owner,
            "file": file,
        },
        lambda: session.output.line(
            f"Waived until {waiver.until}: {formatting.plural(len(matched), 'check')}, in {file}"
        ),
    )
