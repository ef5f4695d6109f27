"""Rollouts in words, wherever they are shown: ways, states, counts, who is waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devvm.domain.rollout.state import Record, VmProgress, VmState

_WAYS = {"converge": "converge in place", "rebuild": "rebuild on the new box"}
#: In which order states are told: what a person looks for first.
_ORDER = (
    "stuck", "failed", "updating", "going back", "asked", "later", "due", "left", "back", "done",
    "waiting",
)  # fmt: skip


def way(kind: str, reason: str = "") -> str:
    """A way and why: `converge in place: 1 role changes, which needs no new root`."""
    words = _WAYS.get(str(kind), str(kind))
    return f"{words}: {reason}" if reason else words


def counts(numbers: Mapping[VmState, int], *, waiting: bool = True) -> str:
    """How many VMs are how: `1 failed, 18 done, 480 waiting`."""
    found = {str(state): number for state, number in numbers.items() if number}
    return ", ".join(
        f"{found[state]} {state}"
        for state in _ORDER
        if state in found and (waiting or state != "waiting")
    )


def names(of: Sequence[str], most: int = 6) -> str:
    """Some VMs: `dev1, dev2 and dev3`, `dev1, dev2 and 48 more`."""
    if len(of) > most:
        return f"{', '.join(of[:most])} and {len(of) - most} more"
    return " and ".join(filter(None, [", ".join(of[:-1]), *of[-1:]]))


def first_line(text: str) -> str:
    """The first line of why something is so."""
    return text.strip().partition("\n")[0]


def why(progress: VmProgress) -> str:
    """Why a VM is as it is, in a line that stands behind its name."""
    return progress.failure or first_line(progress.why)


def clock(at: str) -> str:
    """An ISO 8601 time as a clock on the wall here has it: `14:35`; empty where none is."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M}"
    except ValueError:
        return ""


def seconds_between(start: str, end: datetime | str) -> float:
    """Seconds from one ISO 8601 time to another; 0 where one can't be read."""
    try:
        until = datetime.fromisoformat(end) if isinstance(end, str) else end
        return max(0.0, (until - datetime.fromisoformat(start)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def vm(progress: VmProgress) -> str:
    """How far a VM is, in a line: `done in 34 s`, `failed: nginx does not start`."""
    from devvm.domain.rollout.state import VmState

    said = what(progress)
    if not said:
        return str(progress.state)
    joint = ": "
    if progress.state is VmState.UPDATING:
        joint = ", "
    elif progress.state is VmState.DONE:
        joint = ", " if progress.seconds is None else " "
    return f"{progress.state}{joint}{said}"


def what(progress: VmProgress) -> str:
    """What there is to say of a VM beside its state: `in 34 s`, `nginx does not start`."""
    from devvm.cli import formatting
    from devvm.domain.rollout.state import VmState

    match progress.state:
        case VmState.DONE:
            took = "" if progress.seconds is None else f"in {formatting.duration(progress.seconds)}"
            checks = f"{progress.checks} checks pass" if progress.checks else ""
            return ", ".join(filter(None, [took, checks]))
        case VmState.UPDATING:
            return way(progress.way, progress.reason)
        case VmState.ASKED:
            until = clock(progress.deadline)
            return progress.why + (f", until {until}" if until else "")
    return why(progress)


def paused_by_request(record: Record) -> bool:
    """Whether a rollout is paused because somebody wanted that."""
    from devvm.domain.rollout.state import Cause

    return record.cause is Cause.REQUEST
