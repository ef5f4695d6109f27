"""The result of the last verification of each VM, stored in its folder for overviews.

It is only shown: a result that can't be written or read counts as missing.
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

#: How many checks and packages are stored by name; the others are counted.
_NAMED = 200
#: How many characters of a message are stored.
_LONG = 300


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that did not pass.

    Attributes:
        name: Its name.
        role: The role responsible for it.
        outcome: `failed`, or `error` if it could not run.
        message: What differs, in one line.
    """

    name: str
    role: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, kw_only=True)
class ParityRecord:
    """The result of a verification.

    Attributes:
        at: When it ended; ISO 8601, UTC.
        release: The VM's release at that time.
        passed: Whether every check passed, or was waived or ahead.
        checks_passed: How many checks passed.
        checks_failed: How many failed, or could not run.
        checks_waived: How many were waived.
        checks_ahead: How many match the release, but not production.
        checks_total: How many checks there were.
        seconds: How long it took.
        moved: The first 200 packages that moved.
        failing: The first 200 checks that failed.
        version: The version of the file format.
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
    """Store the result of a verification, replacing the last one; errors are ignored."""
    if state.vm(report.vm).is_dir():
        with suppress(DevvmError):  # no space left: the check counts all the same
            write_atomic(_file(state, report.vm), json.dumps(asdict(_of(report))))


def find(state: State, name: str, release: str) -> ParityRecord | None:
    """The result of the last verification of a VM.

    Returns:
        None if the VM was never checked, or the file can't be read, or it is about another release,
        and so about a root that the VM no longer has.
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
    """`seen` with lone surrogates escaped, as UTF-8 can't encode them."""
    return seen.encode("utf-8", "backslashreplace").decode("utf-8")


def _file(state: State, name: str) -> Path:
    return state.vm(name) / "parity.json"
