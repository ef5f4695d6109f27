"""`devvm rollout plan`, `status`, `list`, `log`: look at rollouts without changing anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import completion, options
from devvm.cli.rollout import options as rollout_options
from devvm.cli.rollout import sentences
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.domain.rollout.state import Record
    from devvm.operations.rollout.store import RolloutLog
    from devvm.ports.services import Services

#: Seconds between two updates of `--follow`.
_FOLLOW_EVERY = 1.0

Id = Annotated[
    str | None,
    typer.Argument(
        metavar="ID", show_default=False, help="A rollout, such as r3; defaults to the latest."
    ),
]
All = Annotated[bool, typer.Option("--all", help="List every VM by name.")]


def plan(
    context: typer.Context,
    release: rollout_options.Release = None,
    canary: rollout_options.Canary = None,
    waves: rollout_options.Waves = None,
    max_failures: rollout_options.MaxFailures = None,
    parallel: rollout_options.Parallel = None,
    rebuild: rollout_options.Rebuild = None,
    ask_minutes: rollout_options.AskMinutes = None,
    vms: rollout_options.Vms = None,
    plan: rollout_options.PlanFile = None,
    everything: All = False,
    json: options.Json = False,
) -> None:
    """Show which VMs would be updated when and how, and what their owners would notice."""
    from devvm.cli.rollout import serializers, show

    session = Session.of(context)
    services = session.services()
    made, planned = rollout_options.planned(
        services, plan, release=release, canary=canary, waves=waves, max_failures=max_failures,
        parallel=parallel, rebuild=rebuild, ask_minutes=ask_minutes, vms=vms,
    )  # fmt: skip
    session.output.result(
        serializers.plan(made, planned),
        lambda: show.plan(session, made, planned, everything=everything),
    )


def status(
    context: typer.Context,
    identifier: Id = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Follow it until it ends or pauses; with --json, "
                     "print one line per event."),
    ] = False,
    everything: All = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Show the status of a rollout."""
    from devvm.cli.rollout import serializers, show
    from devvm.operations.rollout import store

    session = Session.of(context)
    services = session.services()
    log = store.find(services, identifier)
    if follow and session.output.json:
        gone = _follow_events(session, services, log)
    else:
        gone = follow and _follow(session, services, log)
        busy = _holder(services)
        record = log.record()
        session.output.result(
            {"rollout": serializers.record(record), "holder": None if record.ended else busy},
            lambda: show.record(session, record, busy=busy, everything=everything),
        )
    if gone:
        raise typer.Exit(ExitCode.FAILED)


def _holder(services: Services) -> str | None:
    """The process that runs a rollout. Read it before the record, which may end meanwhile."""
    from devvm.operations.rollout import store

    return store.holder(services)


def _follow(session: Session, services: Services, log: RolloutLog) -> bool:
    """Show the progress of a rollout; return whether its process died before the end."""
    from devvm.cli.rollout.text import Lines, Picture

    output, record = session.output, log.record()
    lines = Lines(output.note, since=record, notes_only=output.shows_live)
    if not output.shows_live:
        counts = sentences.counts(record.counts())
        output.note(f"{record.plan.id}: {record.state}: {counts}")
    with output.live(Picture(lambda: record)):
        while True:
            busy = _holder(services)
            record = log.record()
            lines.look(record)
            if _is_over(record, busy):
                return _is_gone(record)
            time.sleep(_FOLLOW_EVERY)


def _follow_events(session: Session, services: Services, log: RolloutLog) -> bool:
    """Print events as they are written; return whether the process died before the end."""
    from devvm.domain.rollout.state import add_up

    plan, at = log.plan()
    seen = 0
    while True:
        busy = _holder(services)
        events = log.events()
        for event in events[seen:]:
            session.output.event(event)
        seen = len(events)
        record = add_up(plan, at, events)
        if _is_over(record, busy):
            if gone := _is_gone(record):
                session.output.note(
                    "The process of the rollout was killed. Next: devvm rollout resume"
                )
            return gone
        time.sleep(_FOLLOW_EVERY)


def _is_over(record: Record, busy: str | None) -> bool:
    from devvm.domain.rollout.state import State

    return record.ended or record.state is State.PAUSED or busy is None


def _is_gone(record: Record) -> bool:
    from devvm.domain.rollout.state import State

    return not (record.ended or record.state is State.PAUSED)


def list_rollouts(context: typer.Context, json: options.Json = False) -> None:
    """List all rollouts, latest first."""
    from devvm.cli.rollout import serializers, show
    from devvm.operations.rollout import control

    session = Session.of(context)
    records = control.records(session.services())[::-1]
    session.output.result(
        {"rollouts": [serializers.record(one, vms=False) for one in records]},
        lambda: show.listed(session, records),
    )


def log(
    context: typer.Context,
    identifier: Id = None,
    vm: Annotated[
        str | None,
        typer.Option(
            "--vm",
            metavar="NAME",
            show_default=False,
            autocompletion=completion.vm_names,
            help="Show only the events of this VM.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Include every phase.")] = False,
    json: options.Json = False,
) -> None:
    """Show the log of a rollout: when, who, which VM, what, and the result."""
    from devvm.cli.rollout import show
    from devvm.domain.errors import NotFoundError
    from devvm.domain.rollout.state import Mark
    from devvm.operations.rollout import store

    session = Session.of(context)
    found = store.find(session.services(), identifier)
    if vm is not None and vm not in (known := found.plan()[0].vms):
        raise NotFoundError(
            f"the VM {vm} is not in the rollout {found.id}",
            details=f"its VMs are: {sentences.names(known)}",
            resolution=f"devvm rollout status {found.id} --all",
        )
    events = [
        event
        for event in found.events()
        if vm in (None, event.vm) and (everything or event.what != Mark.PHASE)
    ]
    session.output.result(
        {"id": found.id, "events": events},
        lambda: show.events(session, events),
    )
