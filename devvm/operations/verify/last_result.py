"""What came of the last check of each VM, kept in its folder for those who look at many of them.

It is for looking only: where it can't be written or read, it is as if there were none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from devvm.domain.check import CheckResult, MovedPackage, Outcome, Report
from devvm.domain.errors import DevvmError
from devvm.system.state import State, write_atomic

#: Checks and packages that are kept by name; the others are counted.
_NAMED = 200
#: Characters of a message that are kept.
_LONG = 300


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that did not pass.

    Attributes:
        name: Its name.
        role: Which role answers for it.
        outcome: `failed`, or `error`: it could not be made.
        message: What is otherwise, in a line.
    """

    name: str
    role: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, kw_only=True)
class ParityRecord:
    """What came of a verification.

    Attributes:
        at: When it ended; ISO 8601, UTC.
        release: The VM's release then.
        passed: Whether every check passed, is waived or is ahead.
        checks_passed: How many checks passed.
        checks_failed: How many did not, or could not be made.
        checks_waived: How many differ and are waived.
        checks_ahead: How many are as in the release, and not as in production.
        checks_total: Of how many.
        seconds: How long it took.
        moved: The first 200 of the packages that are so.
        failing: The first 200 of the checks that failed.
        version: Of the file's form.
    """

    at: str
    release: str
    passed: bool
    checks_passed: int
    checks_failed: int
    checks_waived: int
    checks_ahead: int
    checks_total: int
    seconds: float
    moved: tuple[MovedPackage, ...] = ()
    failing: tuple[FailedCheck, ...] = ()
    version: Literal[1] = 1


_FORM = TypeAdapter(ParityRecord)


def keep(state: State, report: Report) -> None:
    """Keep what a verification found, in place of the one before; nothing where that can't be."""
    if state.vm(report.vm).is_dir():
        with suppress(DevvmError):  # no space left: what was checked is checked all the same
            write_atomic(_file(state, report.vm), json.dumps(asdict(_of(report))))


def find(state: State, name: str, release: str) -> ParityRecord | None:
    """What came of the last check of a VM.

    Returns:
        None where it was never checked, what is kept can't be read, or it is about another release
        than the VM has: about a root that the VM has no more.
    """
    try:
        record = _FORM.validate_json(_file(state, name).read_bytes(), strict=True)
        datetime.fromisoformat(record.at)
    except (OSError, ValueError):
        return None
    return record if record.release == release else None


def _of(report: Report) -> ParityRecord:
    counts = {outcome: sum(c.outcome is outcome for c in report.checks) for outcome in Outcome}
    failures = list(report.failures())
    return ParityRecord(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        release=report.release,
        passed=report.passed,
        checks_passed=counts[Outcome.PASSED],
        checks_failed=len(failures),
        checks_waived=counts[Outcome.WAIVED],
        checks_ahead=counts[Outcome.AHEAD],
        checks_total=len(report.checks),
        seconds=report.seconds,
        moved=report.moved()[:_NAMED],
        failing=tuple(
            FailedCheck(
                name=_text(c.name), role=_text(c.role), outcome=c.outcome, message=_first_line(c)
            )
            for c in failures[:_NAMED]
        ),
    )


def _first_line(check: CheckResult) -> str:
    first = check.message.strip().partition("\n")[0] or check.difference or str(check.outcome)
    return _text(first if len(first) <= _LONG else f"{first[:_LONG]}…")


def _text(seen: str) -> str:
    """What was seen on a machine, without halves of characters, which JSON has no place for."""
    return seen.encode("utf-8", "backslashreplace").decode("utf-8")


def _file(state: State, name: str) -> Path:
    return state.vm(name) / "parity.json"
