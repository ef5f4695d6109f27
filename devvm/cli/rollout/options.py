"""The terms of a rollout: command-line options, and a plan file with the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import completion, formatting
from devvm.domain.errors import UsageError

if TYPE_CHECKING:
    from devvm.domain.rollout.plan import Plan, Terms
    from devvm.operations.rollout.plan import Planned
    from devvm.ports.services import Services

_TERMS = "Terms (override those of a plan file)"

Release = Annotated[
    str | None,
    typer.Argument(
        metavar="RELEASE", show_default=False, autocompletion=completion.recorded,
        help="A release from `devvm release list`, or `latest`; may be set in the plan file.",
    ),
]  # fmt: skip

Canary = Annotated[
    int | None,
    typer.Option(
        "--canary", min=0, max=10_000, metavar="N", show_default="1", rich_help_panel=_TERMS,
        help="Number of VMs to update first; if one fails, the rollout stops.",
    ),
]  # fmt: skip

Waves = Annotated[
    list[str] | None,
    typer.Option(
        "--wave", metavar="SIZE", show_default="10%, 50%, 100%", rich_help_panel=_TERMS,
        help="How far a wave goes: up to a share of all VMs, such as 50%, or this many more; "
        "repeatable.",
    ),
]  # fmt: skip

MaxFailures = Annotated[
    int | None,
    typer.Option(
        "--max-failures", min=0, max=10_000, metavar="N", show_default="0",
        rich_help_panel=_TERMS, help="Stop if more VMs than this fail in a wave.",
    ),
]  # fmt: skip

Parallel = Annotated[
    int | None,
    typer.Option(
        "--parallel", min=1, max=64, metavar="N", show_default="2", rich_help_panel=_TERMS,
        help="Number of VMs to update at a time.",
    ),
]  # fmt: skip

Rebuild = Annotated[
    bool | None,
    typer.Option(
        "--rebuild/--no-rebuild", show_default=False, rich_help_panel=_TERMS,
        help="Rebuild every VM, even if the change doesn't need it.",
    ),
]  # fmt: skip

AskMinutes = Annotated[
    int | None,
    typer.Option(
        "--ask-minutes", min=0, max=1440, metavar="N", show_default="rollout.ask_minutes",
        rich_help_panel=_TERMS,
        help="Minutes that active users have to respond; 0: don't ask.",
    ),
]  # fmt: skip

Vms = Annotated[
    list[str] | None,
    typer.Option(
        "--vm", metavar="NAME", show_default=False, autocompletion=completion.vm_names,
        rich_help_panel=_TERMS,
        help="Update only this VM; repeatable. Defaults to all VMs on this host.",
    ),
]  # fmt: skip

PlanFile = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="FILE", show_default=False,
        help="YAML file with any of: release, canary, waves, max_failures, parallel, rebuild, "
        "ask_minutes, vms.",
    ),
]  # fmt: skip


def planned(
    services: Services, plan_file: Path | None, **given: object
) -> tuple[Plan, tuple[Planned, ...]]:
    """Plan a rollout with the given terms; for the arguments and errors see `terms`.

    Raises:
        NotFoundError: the release has no box, or a named VM doesn't exist.
    """
    from devvm import wiring
    from devvm.operations.rollout import plan

    asked = terms(services, given, plan_file)
    return plan.make(services, asked, by=wiring.invoker().login, today=formatting.today())


def terms(services: Services, given: Mapping[str, Any], plan_file: Path | None) -> Terms:
    """The terms of a rollout: options override the plan file, which overrides the defaults.

    Args:
        services: For looking up releases.
        given: The options, by the keys of a plan file; None if not given.
        plan_file: The plan file, if given.

    Raises:
        UsageError: no release is named, it doesn't exist, or the plan file is invalid.
        typer.BadParameter: the size of a wave is invalid.
    """
    from devvm.cli.rollout import plan_file as rollout_file
    from devvm.domain.rollout import plan
    from devvm.operations.release import releases

    if given.get("waves"):
        try:
            plan.check_shares(given["waves"])
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="'--wave'") from None
    asked: dict[str, Any] = {"ask_minutes": services.config.rollout.ask_minutes}
    if plan_file is not None:
        asked |= rollout_file.read(plan_file)
    asked |= {key: value for key, value in given.items() if value not in (None, [])}
    name = asked.pop("release", None)
    if name is None:
        raise UsageError(
            "which release?",
            details="neither the command line nor a plan file names one",
            resolution="devvm rollout plan latest; devvm rollout start latest",
        )
    release = releases.find(services, name).release
    asked["only"] = tuple(dict.fromkeys(asked.pop("vms", ())))  # without duplicates
    asked["waves"] = tuple(asked.get("waves", plan.WAVES))
    return plan.Terms(release=release, **asked)
