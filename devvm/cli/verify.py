"""`devvm verify`: whether a VM is as production is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import options, panels, reports, views, words
from devvm.cli.session import Session
from devvm.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from devvm.model import Report
    from devvm.operations.mend import Mended


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm verify dev1 --html dev1.html")(
        verify
    )


def verify(
    context: typer.Context,
    name: options.Name = None,
    every_vm: Annotated[
        bool, typer.Option("--all", help="Check every VM that runs, side by side.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Apply the roles concerned again, and check again."),
    ] = False,
    checks: Annotated[
        bool, typer.Option("--checks", help="List every check, also those that passed.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", show_default=False, dir_okay=False,
                     help="Write the report as one self-contained page as well."),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", show_default=False, dir_okay=False,
                     help="Write the results as JUnit XML as well."),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option("--parallel", metavar="N", min=1, max=64,
                     help="With --all: how many VMs are checked together."),
    ] = 4,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Check a VM against production: packages, units, sockets, settings, files, the site.

    Exits with 3 when something differs.
    """
    session = Session.of(context)
    if every_vm:
        _refuse_beside_all(
            {"NAME": name, "--fix": fix, "--html": html, "--junit": junit, "--checks": checks}
        )
        from devvm.cli import verify_fleet

        verify_fleet.verify_all(session, parallel=parallel)
        return
    vm_name = session.vm_name(name)
    services = session.services()
    run = session.run(f"verify {vm_name}")
    if fix:
        if junit:
            raise UsageError("--fix and --junit don't go together", resolution="devvm verify NAME")
        _mend(session, vm_name, html=html)
        return
    from devvm.operations import verify as operation

    report = operation.verify(services, vm_name, run, junit=junit)
    if html:
        reports.write_html(report, html)
    session.output.result(views.report(report), lambda: reports.show(session, report, every=checks))
    _exit(report)


def _refuse_beside_all(given: dict[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise UsageError(
                f"--all and {option} don't go together", resolution="devvm verify --all"
            )


def _mend(session: Session, name: str, *, html: Path | None) -> None:
    from devvm.operations import mend as operation

    done = operation.mend(session.services(), name, session.run(f"verify --fix {name}"))
    if html:
        reports.write_html(done.after, html)
    data = {
        "roles": list(done.roles),
        "tasks_changed": done.changed,
        "mended": [check.name for check in done.mended],
        "report": views.report(done.after),
    }
    session.output.result(data, lambda: _show_mended(session, done))
    _exit(done.after)


def _show_mended(session: Session, done: Mended) -> None:
    output = session.output
    if done.before is done.after:
        output.line("Nothing to mend")
    elif done.mended:
        output.line(f"Mended: {words.plural(len(done.mended), 'check')}")
        for check in done.mended:
            output.line(f"  {check.name}: {check.message}")
        output.line()
    reports.show_failures(session, done.after)
    reports.show_moved(session, done.after)
    output.line(reports.verdict(done.after))
    if not done.after.passed:
        output.line("What the roles can't mend, a new root does, and leaves your data alone:")
        output.line(f"  devvm rebuild {done.after.vm}")


def _exit(report: Report) -> None:
    if not report.passed:
        raise typer.Exit(ExitCode.DIFFERS)
