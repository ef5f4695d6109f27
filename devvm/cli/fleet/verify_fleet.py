"""`devvm verify --all`: compare every running VM on this host with production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from devvm.cli import formatting, serializers
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.check import Report
    from devvm.operations.verify.fleet import FleetReport, OfCheck

#: How many VMs to name in a row; the others are counted.
_NAMED = 3


def verify_all(session: Session, *, parallel: int) -> None:
    """Check every running VM, and show what differs by check, by release and by VM.

    Args:
        session: The session of the command.
        parallel: How many VMs to check at a time.

    Raises:
        typer.Exit: with 3 if a VM differs, otherwise with 1 if one could not be checked.
    """
    from devvm.operations.verify import fleet as operation

    run = session.run("verify --all")
    fleet = operation.verify_all(session.services(), run, parallel=parallel)
    session.output.result(_data(fleet), lambda: _show(session, fleet))
    if fleet.differing:
        raise typer.Exit(ExitCode.DIFFERS)
    if fleet.not_checked:
        raise typer.Exit(ExitCode.FAILED)


def _data(fleet: FleetReport) -> dict[str, Any]:
    return {
        "passed": fleet.passed,
        "vms": [serializers.report(report) for report in fleet.reports.values()],
        "not_running": fleet.not_running,
        "not_checked": [
            {"name": name, "reason": reason} for name, reason in fleet.not_checked.items()
        ],
        "by_release": fleet.by_release(),
        "by_check": fleet.by_check(),
        "seconds": fleet.seconds,
    }


def _show(session: Session, fleet: FleetReport) -> None:
    output = session.output
    if not (fleet.reports or fleet.not_checked or fleet.not_running):
        output.note("There are no VMs on this host. Next: devvm create")
        return
    show_checks(session, fleet.by_check())
    if releases := fleet.by_release():
        output.table(
            ("RELEASE", "VMS", "MATCH", "DIFFER"),
            [
                (of.release, *map(str, (of.vms_total, of.vms_matching, of.vms_differing)))
                for of in releases
            ],
        )
        output.line()
    output.table(("VM", "RELEASE", "RESULT", "TIME"), _rows(fleet))
    output.line()
    packages = {one.name: one for report in fleet.reports.values() for one in report.moved()}
    if packages:
        output.line(moved.in_a_line([packages[name] for name in sorted(packages)]))
        output.line()
    for name, reason in fleet.not_checked.items():
        output.line(f"{name}: not checked")
        output.line(f"  {reason}")
        output.line()
    output.line(_verdict(fleet))


def show_checks(session: Session, failing: Sequence[OfCheck]) -> None:
    """Show which checks fail on which VMs, if any do."""
    if failing:
        session.output.table(
            ("CHECK", "VMS", "EXAMPLE"), [(of.check, _vms(of.vms), _example(of)) for of in failing]
        )
        session.output.line()


def _rows(fleet: FleetReport) -> list[tuple[str, str, str, str]]:
    """A row per VM: those that differ most, not checked, passed, not running."""
    reports = sorted(fleet.reports.values(), key=lambda r: (r.passed, -_failed(r), r.vm))
    checked = [(r.vm, r.release, _result(r), formatting.duration(r.seconds)) for r in reports]
    differing = len(fleet.differing)
    return [
        *checked[:differing],
        *((name, "-", "not checked", "-") for name in fleet.not_checked),
        *checked[differing:],
        *((name, "-", "not running", "-") for name in fleet.not_running),
    ]


def _result(report: Report) -> str:
    failed = _failed(report)
    counts = [f"{failed} failed" if failed else "passed" if report.passed else "no checks"]
    for word, checks in (("waived", report.waived()), ("ahead", report.ahead())):
        counts += [f"{number} {word}" for number in [len(list(checks))] if number]
    return ", ".join(counts)


def _failed(report: Report) -> int:
    return len(list(report.failures()))


def _verdict(fleet: FleetReport) -> str:
    """A summary of all checks in one line."""
    differ, unknown, off = len(fleet.differing), len(fleet.not_checked), len(fleet.not_running)
    stopped = f"{off} not running"
    total = len(fleet.reports) + unknown
    if not total:
        return f"Nothing to check: {stopped}. Next: devvm start NAME"
    match = len(fleet.reports) - differ
    counts = [f"{match} match{'es' if match == 1 else ''} production"]
    counts += [f"{differ} differ{'s' if differ == 1 else ''}"] if differ else []
    counts += [f"{unknown} could not be checked"] if unknown else []
    return f"{formatting.plural(total, 'VM')}: {', '.join(counts)}" + (
        f"; {stopped}" if off else ""
    )


def _vms(names: Sequence[str]) -> str:
    named = ", ".join(names[:_NAMED])
    return named if len(names) <= _NAMED else f"{named} and {len(names) - _NAMED} more"


def _example(of: OfCheck) -> str:
    first = of.message.strip().partition("\n")[0]
    return (
        first if of.checks_total == 1 else f"{formatting.plural(of.checks_total, 'check')}: {first}"
    )
