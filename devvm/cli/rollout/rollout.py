"""`devvm rollout ...`: roll out a release: start, pause, resume, abort, roll back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from devvm.cli import formatting, options, panels
from devvm.cli.confirm import confirm
from devvm.cli.rollout import look, sentences
from devvm.cli.rollout import options as rollout_options
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode, InterruptedOperationError

if TYPE_CHECKING:
    from devvm.domain.rollout.state import Record, VmState
    from devvm.operations.rollout.control import Make
    from devvm.operations.rollout.engine import Rollout
    from devvm.ports.services import Services

Id = look.Id


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(
        parent,
        "rollout",
        "Roll out a release to the fleet: a canary first, then wave by wave.",
        panels.FLEET,
    )
    app.command(epilog="Example:  devvm rollout plan latest")(look.plan)
    app.command(
        epilog="Example:  devvm rollout start latest --canary 2 --wave 10% --wave 50% --wave 100%"
    )(start)
    app.command(epilog="Example:  devvm rollout status --follow")(look.status)
    app.command(epilog="Example:  devvm rollout pause")(pause)
    app.command(epilog="Example:  devvm rollout resume")(resume)
    app.command(epilog="Example:  devvm rollout abort")(abort)
    app.command(epilog="Example:  devvm rollout rollback r3")(rollback)
    app.command("list", epilog="Example:  devvm rollout list")(look.list_rollouts)
    app.command(epilog="Example:  devvm rollout log --vm dev1")(look.log)
    app.command("try-hooks", epilog="Example:  devvm rollout try-hooks")(try_hooks)


def start(
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
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Roll out a release to every VM: the canary first, then wave by wave.

    Each VM must come back, match production and serve a healthy site; otherwise it is rolled back.
    If a canary fails, the rollout stops and all canaries are rolled back. The rollout runs in this
    process; if that is killed, or paused with Ctrl-C, `devvm rollout resume` continues it.
    """
    from devvm.cli.rollout import show as rollout_show
    from devvm.operations.rollout import control

    session = Session.of(context)
    services = session.services()
    made, planned = rollout_options.planned(
        services, plan, release=release, canary=canary, waves=waves, max_failures=max_failures,
        parallel=parallel, rebuild=rebuild, ask_minutes=ask_minutes, vms=vms,
    )  # fmt: skip
    said = rollout_show.summary(made, planned)
    _confirm(session, said, yes=yes)

    def work(make: Make) -> None:
        with control.started(services, made, command="rollout start") as log:
            make(log).carry_out()

    _carry_out(session, services, work)


def pause(context: typer.Context, identifier: Id = None, json: options.Json = False) -> None:
    """Pause a rollout after the updates in progress; its process then ends."""
    from devvm.operations.rollout import control

    session = Session.of(context)
    log, busy = control.ask(session.services(), identifier, "pause")
    record = log.record()
    _show_asked(session, record, "pause", busy=busy)


def resume(
    context: typer.Context,
    identifier: Id = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Continue a rollout that was paused, or whose process was killed."""
    from devvm.operations.rollout import control, store

    session = Session.of(context)
    services = session.services()
    before = store.find(services, identifier).record()

    def work(make: Make) -> None:
        with control.locked_rollout(services, identifier, command="rollout resume") as log:
            make(log).carry_out()

    _carry_out(session, services, work, since=before)


def abort(
    context: typer.Context,
    identifier: Id = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """End a rollout; VMs that are already on the release stay there.

    A VM whose update is in progress is finished first, or rolled back if no process is at work.
    """
    from devvm.operations.rollout import control, store

    session = Session.of(context)
    services = session.services()
    before = store.find(services, identifier).record()
    if not before.ended:
        _confirm(session, _abort_words(before), yes=yes)
    log, busy = control.ask(services, before.plan.id, "abort")
    if busy:
        _show_asked(session, log.record(), "abort", busy=busy)
        return

    def work(make: Make) -> None:
        control.abort(services, before.plan.id, make, command="rollout abort")

    _carry_out(session, services, work, since=before, more={"asked": False})


def _abort_words(record: Record) -> str:
    from devvm.domain.rollout.state import VmState

    text = f"This ends the rollout {record.plan.id}: no more VMs are updated."
    if done := _named(record, VmState.DONE):
        text += (
            f" Already on {record.plan.terms.release}: {sentences.names(done)}; to roll back: "
            f"devvm rollout rollback {record.plan.id}."
        )
    return text


def rollback(
    context: typer.Context,
    identifier: Id = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Roll every VM of a rollout back to its own previous state.

    Databases are rolled back too; changes made since in homes and checkouts are kept. The current
    state of each VM goes to the trash.
    """
    from devvm.operations.rollout import control, store

    session = Session.of(context)
    services = session.services()
    before = store.find(services, identifier).record()
    if names := _on_it(before):
        _confirm(session, _rollback_words(before, names), yes=yes)

    def work(make: Make) -> None:
        control.roll_back(services, before.plan.id, make, command="rollout rollback")

    _carry_out(session, services, work, since=before)


def _on_it(record: Record) -> list[str]:
    from devvm.domain.rollout.state import VmState

    return _named(
        record, VmState.DONE, VmState.UPDATING, VmState.GOING_BACK, VmState.STUCK
    )  # fmt: skip


def _rollback_words(record: Record, names: list[str]) -> str:
    return (
        f"This rolls back {formatting.plural(len(names), 'VM')} ({sentences.names(names)}) to "
        f"before {record.plan.id}, including databases. Changes made since in homes and checkouts "
        "are kept. The current state of each VM goes to the trash."
    )


def try_hooks(context: typer.Context, json: options.Json = False) -> None:
    """Send a test message through the configured hooks and chat."""
    from devvm import wiring
    from devvm.operations.rollout import notify

    session = Session.of(context)
    config = session.config()
    hooks = config.rollout.hooks
    configured = {
        "command": hooks.command, "webhook": hooks.webhook, "irc": config.rollout.irc.server,
    }  # fmt: skip
    told = [name for name, setting in configured.items() if setting]
    complaints = notify.try_out(wiring.messenger(config), wiring.invoker().login)
    output = session.output

    def show() -> None:
        if not told:
            output.note("Nothing is configured: see rollout.hooks and rollout.irc in "
                        "docs/configuration.md")  # fmt: skip
        for complaint in complaints:
            output.line(complaint)
        if told and not complaints:
            output.line(f"A test message was sent: {', '.join(told)}")

    output.result({"configured": told, "complaints": complaints}, show)
    if complaints:
        raise typer.Exit(ExitCode.FAILED)


def _confirm(session: Session, said: str, *, yes: bool) -> None:
    if not yes:
        confirm(session, said, shlex.join(["devvm", *session.argv, "--yes"]))
    elif not session.output.quiet:
        session.output.note(said)


def _show_asked(session: Session, record: Record, what: str, *, busy: bool) -> None:
    """Show what the process of a rollout will do about a request."""
    from devvm.cli.rollout import serializers
    from devvm.domain.rollout.state import State, VmState

    identifier, half_way = record.plan.id, _named(record, VmState.UPDATING)
    follow = "devvm rollout status --follow"
    if not busy:
        said = f"{identifier} has no running process. Next: devvm rollout resume"
    elif record.state in (State.STOPPING, State.ROLLING_BACK):
        said = f"{identifier} is {record.state} and will finish that first. Next: {follow}"
    else:
        when = f"as soon as {sentences.names(half_way)} " if half_way else "within seconds"
        when += ("is done" if len(half_way) == 1 else "are done") if half_way else ""
        said = f"{identifier} will {what} {when}. Next: {follow}"
    session.output.result(
        {"rollout": serializers.record(record), "asked": busy},
        lambda: session.output.line(said),
    )


def _carry_out(
    session: Session,
    services: Services,
    work: Callable[[Make], Any],
    *,
    since: Record | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Work on a rollout and show the result; `more` is added to the JSON."""
    from devvm.cli.rollout.runner import RolloutRunner

    carrier = RolloutRunner(session, services)
    rollout = carrier.run(work, since=since)
    _end(session, rollout, interrupted=bool(carrier.interrupted), more=more or {})


def _end(session: Session, rollout: Rollout, *, interrupted: bool, more: Mapping[str, Any]) -> None:
    """Show how the rollout ended or paused, and exit accordingly.

    Raises:
        InterruptedOperationError: the user paused it.
        typer.Exit: with 1 if it failed, or paused for another reason.
    """
    from devvm.cli.rollout import serializers
    from devvm.cli.rollout import show as rollout_show
    from devvm.domain.rollout.state import State

    record = rollout.ledger.record
    if interrupted and record.state is State.PAUSED:
        raise InterruptedOperationError(
            f"the rollout {record.plan.id} is paused",
            details=sentences.counts(record.counts()),
            resolution="devvm rollout resume",
        )
    session.output.result(
        {"rollout": serializers.record(record), **more},
        lambda: rollout_show.record(session, record, busy=None),
    )
    unwanted = record.state is State.PAUSED and not sentences.paused_by_request(record)
    if record.state is State.FAILED or rollout.stuck or unwanted:
        raise typer.Exit(ExitCode.FAILED)


def _named(record: Record, *states: VmState) -> list[str]:
    return [vm.name for vm in record.vms.values() if vm.state in states]
