"""`devvm verify`: whether a VM is as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import options, panels, views, words
from devvm.cli.session import Session
from devvm.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devvm.model import CheckResult, Report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm verify dev1 --junit report.xml")(
        verify
    )


def verify(
    context: typer.Context,
    name: options.Name = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", show_default=False, dir_okay=False,
                     help="Write the results as JUnit XML as well."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List the checks that passed, too.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Check a VM: services, ports, configuration, the site and everything it depends on.

    Exits with 3 when a check fails.
    """
    from devvm.operations import verify as operation

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    run = session.run(f"verify {vm_name}")
    report = operation.verify(services, vm_name, run, junit=junit)
    session.output.result(views.report(report), lambda: show_report(session, report, every=every))
    if not report.passed:
        raise typer.Exit(ExitCode.DIFFERS)


def show_report(session: Session, report: Report, *, every: bool) -> None:
    """A table of the checks: by role where all is well, the failures in full otherwise."""
    output = session.output
    data = views.report(report)
    if every:
        output.table(
            ("CHECK", "RESULT", "TIME"),
            [(c.name, str(c.outcome), words.duration(c.seconds)) for c in report.checks],
        )
    else:
        output.table(("ROLE", "CHECKS", "RESULT"), _by_role(report))
    output.line()
    _show(session, report.waived())
    show_failures(session, report)
    allowed = f", {data['checks_waived']} waived" if data["checks_waived"] else ""
    output.line(
        f"{report.vm}: {data['checks_passed']} of {words.plural(data['checks_total'], 'check')} "
        f"passed{allowed} in {words.duration(report.seconds)} (release {report.release})"
    )


def show_failures(session: Session, report: Report) -> None:
    """Each check that did not pass, with its reason."""
    _show(session, report.failures())


def _show(session: Session, checks: Iterable[CheckResult]) -> None:
    for check in checks:
        session.output.line(f"{check.name}: {check.outcome}")
        for line in check.message.strip().splitlines():
            session.output.line(f"  {line}")
        session.output.line()


def _by_role(report: Report) -> list[tuple[str, str, str]]:
    roles: dict[str, list[str]] = {}
    for check in report.checks:
        roles.setdefault(check.role, []).append(check.outcome)
    return [(role, str(len(results)), _result(results)) for role, results in roles.items()]


def _result(outcomes: list[str]) -> str:
    if {"failed", "error"} & set(outcomes):
        return "failed"
    waived = outcomes.count("waived")
    return f"passed, {waived} waived" if waived else "passed"
