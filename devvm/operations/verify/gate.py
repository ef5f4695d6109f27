"""Require that every check passes, or tell the person whom to contact.

The person who sees such an error usually can't edit the roles. So it names the roles, and says how
to go on meanwhile.
"""

from __future__ import annotations

from collections import Counter

from devvm.domain.check import Report
from devvm.domain.errors import DevvmError, OperationError
from devvm.domain.release.identity import same_release
from devvm.operations.core.progress import Run
from devvm.ports.services import Services

#: How many checks an error names; the others are counted.
_NAMED = 20


def demand_passed(
    services: Services,
    report: Report,
    run: Run,
    *,
    what: str,
    outcome: str,
    resolution: str,
    against: str = "",
    meanwhile: str = "",
    kind: type[DevvmError] = OperationError,
) -> None:
    """Make sure that every check passed.

    Args:
        services: The adapters to use.
        report: The result of the checks.
        run: Its log has the full output.
        what: What was checked: `the box`, or a VM's name.
        outcome: What that means for it: `it is not registered`.
        resolution: What the people who maintain the roles type once they have fixed them.
        against: What it was checked against, if that isn't obvious.
        meanwhile: How to go on; by default, with another box, if there is one.
        kind: The error to raise.

    Raises:
        DevvmError: a check failed, or none ran.
    """
    if report.passed:
        return
    failures = list(report.failures())
    lines = [f"{c.name}: {c.message.splitlines()[0]}" if c.message else c.name for c in failures]
    left = len(lines) - _NAMED
    other = another_release(services, report.release)
    if other and not meanwhile:
        meanwhile = f"meanwhile you can use another box: devvm create --release {other}"
    raise kind(
        f"{what} fails {len(failures)} of {len(report.checks)} "
        f"checks{f' {against}' if against else ''}; {outcome}",
        details="\n".join(
            [
                *(lines[:_NAMED] or ["no check ran"]),
                *([f"and {left} more"] if left > 0 else []),
                *([f"Report to: {report_to(report)}"] if lines else []),
            ]
        ),
        resolution="; ".join(
            [
                "send the log to the platform team",
                *([meanwhile] if meanwhile else []),
                f"once the roles are fixed: {resolution}",
            ]
        ),
        log=run.log(services.state),
    )


def report_to(report: Report) -> str:
    """Whom to report to, and how many checks of each role failed, the most first."""
    counted = Counter(check.role for check in report.failures())
    roles = ", ".join(f"{role} {count}" for role, count in counted.most_common())
    return f"the platform team{f' (failed checks by role: {roles})' if roles else ''}"


def another_release(services: Services, release: str) -> str | None:
    """The newest other release that has a box; None if there is none."""
    others = (box.release for box in services.boxes.list())
    return next((other for other in others if not same_release(other, release)), None)
