"""`devvm verify`: compare a VM with production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import formatting, options, panels, reports, serializers
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from devvm.domain.check import Report
    from devvm.operations.vm.fix import Fixed

#: How many VMs to check at a time by default.
_PARALLEL = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm verify dev1 --html dev1.html")(
        verify
    )


def verify(
    context: typer.Context,
    name: options.Name = None,
    every_vm: Annotated[
        bool, typer.Option("--all", help="Check all running VMs, several at a time.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Re-apply the roles whose checks fail, then check again."),
    ] = False,
    checks: Annotated[
        bool, typer.Option("--checks", help="List every check, including those that passed.")
    ] = False,
    html: options.Html = None,
    junit: options.Junit = None,
    parallel: Annotated[
        int | None,
        typer.Option("--parallel", metavar="N", min=1, max=64, show_default=str(_PARALLEL),
                     help="With --all: how many VMs to check at a time."),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Compare a VM with production: packages, units, sockets, settings, files, the site.

    Exits with 3 if anything differs.
    """
    session = Session.of(context)
    if every_vm:
        _refuse_beside(
            "--all",
            {"NAME": name, "--fix": fix, "--html": html, "--junit": junit, "--checks": checks},
            "devvm verify --all",
        )
        from devvm.cli.fleet import verify_fleet

        verify_fleet.verify_all(session, parallel=parallel or _PARALLEL)
        return
    if parallel is not None:
        raise UsageError("--parallel needs --all", resolution="devvm verify --all --parallel 4")
    if fix:
        _refuse_beside("--fix", {"--junit": junit, "--checks": checks}, "devvm verify NAME")
        _fix(session, session.vm_name(name), html=html)
    else:
        _check(session, session.vm_name(name), html=html, junit=junit, every=checks)


def _refuse_beside(option: str, given: Mapping[str, object], resolution: str) -> None:
    for other, value in given.items():
        if value:
            raise UsageError(f"{option} can't be combined with {other}", resolution=resolution)


def _check(
    session: Session, name: str, *, html: Path | None, junit: Path | None, every: bool
) -> None:
    from devvm.operations.verify import verify as operation

    report = operation.verify(session.services(), name, session.run(f"verify {name}"), junit=junit)
    if html:
        reports.write_html(report, html)
    session.output.result(
        serializers.report(report), lambda: reports.show(session, report, every=every)
    )
    _exit(report)


def _fix(session: Session, name: str, *, html: Path | None) -> None:
    from devvm.operations.vm import fix as operation

    done = operation.fix(session.services(), name, session.run(f"verify --fix {name}"))
    if html:
        reports.write_html(done.after, html)
    data = {
        "roles": done.roles,
        "tasks_changed": done.changed,
        "mended": [check.name for check in done.fixed],
        "report": serializers.report(done.after),
    }
    session.output.result(data, lambda: _show_fixed(session, done))
    _exit(done.after)


def _show_fixed(session: Session, done: Fixed) -> None:
    output = session.output
    if done.before is done.after:
        output.line("Nothing to fix")
    elif done.fixed:
        output.line(f"Fixed: {formatting.plural(len(done.fixed), 'check')}")
        for check in done.fixed:
            output.line(f"  {check.name}: {check.message}")
        output.line()
    reports.show_failures(session, done.after)
    reports.show_moved(session, done.after)
    output.line(reports.verdict(done.after))
    if not done.after.passed:
        output.line("The roles can't fix the rest. A rebuild does, and keeps your data:")
        output.line(f"  devvm rebuild {done.after.vm}")


def _exit(report: Report) -> None:
    if not report.passed:
        raise typer.Exit(ExitCode.DIFFERS)
