"""`devvm update`: update one VM to a recorded release, in place or by a rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import completion, options, panels, reports, serializers
from devvm.cli.rollout import sentences
from devvm.cli.session import Session
from devvm.cli.vm import unsaved_work
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.core.progress import Run
    from devvm.operations.update.strategy import Choice
    from devvm.operations.update.update import Updated
    from devvm.ports.services import Services

ReleaseOption = Annotated[
    str,
    typer.Option(
        "--release", metavar="RELEASE", autocompletion=completion.recorded,
        help="A release from `devvm release list`, or `latest`.",
    ),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm update dev1")(update)


def update(
    context: typer.Context,
    name: options.Name = None,
    release: ReleaseOption = "latest",
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Rebuild the VM even if the change doesn't need it."),
    ] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Update a VM to a release, in place if possible.

    If the change allows it, Ansible applies what changed; otherwise the VM is rebuilt on the
    release's box. Its data disk is kept. If the update fails, the VM goes back to how it was.
    """
    from devvm.operations.release import releases
    from devvm.operations.update import update as operation

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    wanted = releases.find(services, release).release
    run = session.run(f"update {vm_name}")
    choice = _choice(session, services, vm_name, wanted, run, rebuild=rebuild, yes=yes)
    request = operation.UpdateRequest(name=vm_name, release=wanted, rebuild=rebuild, choice=choice)
    updated = operation.update(services, request, run)
    session.output.result(
        {
            "vm": serializers.vm(updated.vm),
            "report": serializers.report(updated.report),
            "way": updated.strategy,
            "previous": updated.previous,
            "run": run.record("done"),
        },
        lambda: _show(session, updated),
    )
    if not updated.report.passed:  # only if it was already on the release
        raise typer.Exit(ExitCode.DIFFERS)


def _choice(
    session: Session,
    services: Services,
    name: str,
    release: str,
    run: Run,
    *,
    rebuild: bool,
    yes: bool,
) -> Choice | None:
    """Choose how to update; ask first if it is a rebuild.

    None if the VM is already on the release, or isn't ready.
    """
    from devvm.domain.release.strategy import Kind
    from devvm.domain.vm import VmState
    from devvm.operations.core.machine import Machine
    from devvm.operations.update import strategy
    from devvm.operations.update import update as operation
    from devvm.operations.vm import lifecycle

    vm = lifecycle.present(Machine(services, name))
    if vm.metadata is None or not vm.metadata.ready:
        return None  # the operation reports what to do
    if strategy.is_on(vm, release) and not rebuild:
        return None
    record = strategy.on_record(services, release)
    if vm.state is not VmState.RUNNING:  # choosing needs a look inside the VM
        vm = lifecycle.start(services, name, run)
    choice = operation.choose(services, vm, record, run, rebuild=rebuild)
    if choice.strategy.kind is Kind.REBUILD:
        again = f"devvm update {name} --release {release}{' --rebuild' if rebuild else ''} --yes"
        unsaved_work.agree(session, services, name, again, yes=yes)
    return choice


def _show(session: Session, updated: Updated) -> None:
    vm, checked = updated.vm, reports.checked(updated.report)
    if updated.strategy is None:
        release = updated.report.release
        session.output.line(f"{vm.name} is already on {release}; {checked[0][1]}")
        for _, newer in checked[1:]:
            session.output.line(newer)
        if not updated.report.passed:
            session.output.note(f"To see what differs: devvm verify {vm.name}")
        return
    rows = [
        ("Release", updated.report.release),
        ("How", sentences.way(updated.strategy.kind, updated.strategy.reason)),
        *checked,
    ]
    if updated.previous:
        item = f"devvm recover {vm.name} --item {updated.previous}"
        rows.append(("Old state", f"in the trash: {item}"))
    rows.append(("Next", f"devvm ssh {vm.name}"))
    session.output.facts(f"{vm.name} was updated", rows)
