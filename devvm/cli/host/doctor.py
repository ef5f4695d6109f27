"""`devvm doctor`: find and fix what is wrong on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import formatting, options, panels
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.doctor.doctor import Busy, Treated


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.HOST, epilog="Example:  devvm doctor --fix")(doctor)


def doctor(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Find what is unfinished, lost or damaged: VMs, disks, boxes, leases.

    Changes nothing without --fix. Exits with 1 if problems remain, and with 4 if the host itself
    is not ready.
    """
    from devvm.operations.doctor import doctor as operation

    session = Session.of(context)
    services = session.services()
    before = operation.examine(services)
    if fix:
        results = operation.fix(services, session.run("doctor"))
    else:
        results = tuple(operation.Treated(finding=f, fixed=False) for f in before.findings)
    left = [result for result in results if not result.fixed]
    session.output.result(
        {
            "healthy": not left,
            "findings": [_data(result) for result in results],
            "busy": before.busy,
        },
        lambda: _show(session, results, before.busy, fix=fix),
    )
    if left:
        raise typer.Exit(ExitCode.FAILED)


def _data(result: Treated) -> dict[str, Any]:
    finding = result.finding
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "problem": finding.problem,
        "advice": finding.advice or None,
        "can_be_mended": finding.fix is not None,
        "mended": result.fixed,
        "error": result.error,
    }


def _show(
    session: Session, results: tuple[Treated, ...], busy: tuple[Busy, ...], *, fix: bool
) -> None:
    output = session.output
    for held in busy:
        output.note(f"{held.name} is being changed and was not checked: {held.holder}")
    if not results:
        output.line("No problems found")
        return
    for result in results:
        finding = result.finding
        state = "fixed" if result.fixed else "found"
        output.line(f"{state}: {finding.subject}: {finding.problem}")
        if result.error:
            output.line(f"  could not be fixed: {result.error}")
        elif not result.fixed and finding.fix is not None:
            output.line("  Next: devvm doctor --fix")
        if not result.fixed and finding.advice:
            output.line(f"  Next: {formatting.command(finding.advice)}")
    left = sum(not result.fixed for result in results)
    output.line()
    if fix:
        output.line(f"{formatting.plural(len(results) - left, 'problem')} fixed, {left} left")
    else:
        output.line(f"{formatting.plural(left, 'problem')} found")
