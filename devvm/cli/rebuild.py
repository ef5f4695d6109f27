"""`devvm rebuild`: a clean VM, with the data that it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from devvm.cli import options, panels, readiness, views, words
from devvm.cli.boxes import build_box
from devvm.cli.session import Session
from devvm.errors import UsageError

if TYPE_CHECKING:
    from devvm.operations.rebuild import RebuildResult
    from devvm.operations.risk import Risk

#: A person reads no more of a list than this; --json has all of it.
_SHOWN = 15


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm rebuild dev1")(rebuild)


def rebuild(
    context: typer.Context,
    name: options.Name = None,
    release: options.Release = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Give a VM a clean system; its name, address, host keys and data disk stay.

    First says what is not on the data disk. The old system is kept until the new one has passed
    every check, and is back if anything fails; afterwards it lies in the trash.
    """
    from devvm import release as releases
    from devvm import wiring
    from devvm.operations import create, lifecycle, risk
    from devvm.operations import rebuild as operation

    session = Session.of(context)
    vm_name = session.vm_name(name)
    if release is not None:
        releases.validate_release(release)
    config = session.config()
    readiness.ensure(session, config, yes=yes)
    services = wiring.build_services(config)
    lifecycle.check(services, vm_name)
    session.output.note(f"Looking for work on {vm_name} that is not on its data disk")
    found = risk.look(services, vm_name)
    _agree(session, vm_name, found, release, yes=yes)
    if create.find_box(services, release) is None:
        session.output.note("There is no box of this stack here yet. Building it takes minutes.")
        build_box(session, services, release=release, yes=yes)
    invoker = wiring.invoker()
    login = vm_name if invoker.login == "root" else invoker.login
    request = operation.RebuildRequest(
        name=vm_name, engineer=invoker.engineer(login, ()), release=release
    )
    run = session.run(f"rebuild {vm_name}")
    result = operation.rebuild(services, request, run)
    session.output.result(
        {
            "vm": views.vm(result.vm),
            "report": views.report(result.report),
            "previous": result.previous,
            "risk": views.risk(found),
            "run": views.run(run.record("done")),
        },
        lambda: _show(session, result),
    )


def _agree(session: Session, name: str, found: Risk, release: str | None, *, yes: bool) -> None:
    """Show what is at risk, and ask where something is."""
    output = session.output
    for checkout in found.checkouts:
        counts = [
            words.plural(count, noun)
            for count, noun in (
                (checkout.changes, "uncommitted change"),
                (checkout.commits, "unpushed commit"),
                (checkout.stashes, "stashed change"),
            )
            if count
        ]
        where = "stays" if checkout.on_data_disk else "NOT on the data disk"
        output.item(f"{checkout.path}: {', '.join(counts)} ({where})")
    for path in found.files[:_SHOWN]:
        output.item(f"{path}: changed since the VM was made (NOT on the data disk)")
    if len(found.files) > _SHOWN:
        output.item(f"and {len(found.files) - _SHOWN} more files (--json lists them)")
    if found.unknown:
        output.note(f"What else is not on the data disk can't be told: {found.unknown}.")
    if not found.any:
        output.note("Nothing: all that was found is on the data disk, and stays.")
        return
    output.note("What is not on the data disk goes to the trash with the old system.")
    if yes:
        return
    again = f"devvm rebuild {name}{f' --release {release}' if release else ''} --yes"
    if not output.can_ask:
        raise UsageError(
            f"rebuilding {name} has to be confirmed: something is not on its data disk",
            details=_listed(found),
            resolution=again,
        )
    if not output.confirm("Rebuild?"):
        raise UsageError(f"{name} was not rebuilt", resolution=again)


def _listed(found: Risk) -> str:
    lines = [f"checkout {checkout.path}" for checkout in found.lost]
    lines += [f"file {path}" for path in found.files[:_SHOWN]]
    if len(found.files) > _SHOWN:
        lines.append(f"and {len(found.files) - _SHOWN} more files")
    return "\n".join([*lines, *([found.unknown] if found.unknown else [])])


def _show(session: Session, result: RebuildResult) -> None:
    vm, counts = result.vm, views.report(result.report)
    checks = words.plural(counts["checks_total"], "check")
    session.output.facts(
        f"{vm.name} is rebuilt",
        [
            ("Release", result.report.release),
            ("Checked", f"{counts['checks_passed']} of {checks} passed"),
            ("Before", f"in the trash: devvm recover {vm.name} --item {result.previous}"),
            ("Next", f"devvm ssh {vm.name}"),
        ],
    )
