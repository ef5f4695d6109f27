"""A parity report as text: the most important first, similar results together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devvm.cli import formatting, serializers
from devvm.cli.session import Session
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.check import CheckResult, Report

#: From this many on, checks with the same message are shown as one.
_ALIKE = 3


def show(session: Session, report: Report, *, every: bool = False) -> None:
    """Show a whole report: a table by role, differences in full, and a summary in one line.

    Args:
        session: The session of the command.
        report: The report.
        every: List every check instead of roles.
    """
    output = session.output
    if every:
        output.table(
            ("CHECK", "RESULT"), [(check.name, str(check.outcome)) for check in report.checks]
        )
    else:
        output.table(("ROLE", "CHECKS", "RESULT"), _by_role(report))
    output.line()
    _show(session, report.waived())
    show_failures(session, report)
    show_moved(session, report)
    output.line(verdict(report))


def checked(report: Report) -> list[tuple[str, str]]:
    """Rows for `Output.facts`: how many checks passed, and which packages are newer."""
    counts = serializers.counts(report)
    total = formatting.plural(counts["checks_total"], "check")
    also = _counts(counts)
    passed = f"{counts['checks_passed']} of {total} passed{f', {also}' if also else ''}"
    newer = moved.in_a_line(report.moved())
    return [("Checked", passed), *([("", newer)] if newer else [])]


def verdict(report: Report) -> str:
    """A summary of the report in one line."""
    data = serializers.counts(report)
    counts, total = _counts(data), formatting.plural(data["checks_total"], "check")
    return (
        f"{report.vm}: {data['checks_passed']} of {total} passed"
        f"{f', {counts}' if counts else ''} in {formatting.duration(report.seconds)} "
        f"(release {report.release})"
    )


def _counts(data: Mapping[str, int]) -> str:
    return ", ".join(
        f"{data[f'checks_{word}']} {word}" for word in ("waived", "ahead") if data[f"checks_{word}"]
    )


def show_failures(session: Session, report: Report) -> None:
    """Show each check that did not pass, with its differences."""
    _show(session, report.failures())
    if report.packages_from is None and any(map(_is_package, report.failures())):
        session.output.line(
            f"The packages of release {report.release} are unknown, because this host has neither "
            "its box nor its record. Every package that differs from production counts as changed."
        )
        session.output.line()


def _is_package(check: CheckResult) -> bool:
    return check.name.startswith("package/")


def show_moved(session: Session, report: Report) -> None:
    """Show the packages that moved, and under each what came with it."""
    packages = report.moved()
    if not packages:
        return
    session.output.line(moved.in_a_line(packages))
    brought: dict[str | None, list[CheckResult]] = {}
    for check in report.ahead():
        if not _is_package(check):
            brought.setdefault(check.package, []).append(check)
    for package in packages:
        session.output.line(f"  {package.name}: {package.change}")
        for check in brought.get(package.label, ()):
            session.output.line(f"    {check.name}: {check.message}")
    session.output.line()


def write_html(report: Report, file: Path) -> None:
    """Write the report as one self-contained page.

    Raises:
        UsageError: the file can't be written.
    """
    from datetime import UTC, datetime

    from devvm.html import parity_report

    page = parity_report.render(
        serializers.report(report),
        generated_at=datetime.now(UTC),
        newer=moved.in_a_line(report.moved()),
    )
    write_page(page, file)


def write_page(page: str, file: Path) -> None:
    """Write an HTML page.

    Raises:
        UsageError: the file can't be written.
    """
    from devvm.domain.errors import DevvmError, UsageError
    from devvm.system.state import write_atomic

    try:
        write_atomic(file, page)
    except (OSError, DevvmError) as error:
        raise UsageError(
            f"{file} can't be written",
            details=str(error),
            resolution="use a file that you can write: --html FILE",
        ) from None


def _show(session: Session, checks: Iterable[CheckResult]) -> None:
    alike: dict[tuple[str, str], list[CheckResult]] = {}
    for check in checks:
        area = check.name.partition("/")[0]
        key = (area, check.message) if check.outcome == "error" else (check.name, "")
        alike.setdefault(key, []).append(check)
    for together in alike.values():
        if len(together) < _ALIKE:
            for check in together:
                _one(session, check)
        else:
            first, last = together[0], together[-1]
            session.output.line(f"{first.name} ... {last.name}: {first.outcome}")
            session.output.line(f"  {formatting.plural(len(together), 'check')}: {first.message}")
            session.output.line()


def _one(session: Session, check: CheckResult) -> None:
    lines = [*check.message.strip().splitlines(), *(check.diff or "").splitlines()]
    session.output.line(f"{check.name}: {check.difference or check.outcome}")
    for line in lines:
        session.output.line(f"  {line}")
    if check.waiver:
        session.output.line(f"  {check.waiver}")
    session.output.line()


def _by_role(report: Report) -> list[tuple[str, str, str]]:
    """A row per role, those with the most failures first."""
    roles: dict[str, list[str]] = {}
    for check in report.checks:
        roles.setdefault(check.role, []).append(check.outcome)
    rows = [(role, str(len(results)), _result(results)) for role, results in roles.items()]
    return sorted(rows, key=lambda row: (-_failed(roles[row[0]]), row[0]))


def _failed(outcomes: list[str]) -> int:
    return outcomes.count("failed") + outcomes.count("error")


def _result(outcomes: list[str]) -> str:
    failed = _failed(outcomes)
    counts = [f"{failed} failed" if failed else "passed"]
    counts += [f"{outcomes.count(w)} {w}" for w in ("waived", "ahead") if w in outcomes]
    return ", ".join(counts)
