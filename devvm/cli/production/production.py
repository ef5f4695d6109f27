"""`devvm production ...`: what production is, and where a VM may differ from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from devvm.cli import formatting, options, panels
from devvm.cli.production import capture, manifests
from devvm.cli.session import Session

#: Days that a waiver holds, unless it is said.
_DAYS = 90


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = typer.Typer(
        help="What production is, and where a VM may differ from it.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)
    capture.register(app)
    manifests.register(app)
    app.command(
        epilog="Example:  devvm production waive sysctl/vm.swappiness "
        "--reason 'VMs have little memory'"
    )(waive)
    parent.add_typer(app, name="production", rich_help_panel=panels.HOST)


def waive(
    context: typer.Context,
    check: Annotated[
        str,
        typer.Argument(
            metavar="CHECK", show_default=False,
            help="The check's name, or a pattern as in a shell: 'setting/redis/*'.",
        ),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", show_default=False, help="Why.")
    ],
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until", formats=["%Y-%m-%d"], show_default=False,
            help=f"The last day that it holds; by default in {_DAYS} days.",
        ),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner", metavar="WHO", show_default=False,
            help="Who answers for it; by default you.",
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine", metavar="NAME", show_default=False,
            help="For these machines only, or a pattern; may be given more than once.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Allow a difference from production for a while: a line in production/waivers.yml.

    `devvm verify` reports it as waived. One that has expired, or that matches no check any more,
    is a failure of its own.
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
            "checks": list(matched),
            "until": waiver.until.isoformat(),
            "owner": waiver.owner,
            "file": str(file),
        },
        lambda: session.output.line(
            f"Waived until {waiver.until}: {formatting.plural(len(matched), 'check')}, in {file}"
        ),
    )
