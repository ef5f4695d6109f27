"""Phrases about rollouts that several outputs share: strategies, states, counts, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devvm.domain.rollout.state import Record, VmProgress, VmState

_WAYS = {"converge": "converge in place", "rebuild": "rebuild on the new box"}
#: The order in which states are listed: what people look for first.
_ORDER = (
    "stuck", "failed", "updating", "going back", "asked", "later", "due", "left", "back", "done",
    "waiting",
)  # fmt: skip


def way(kind: str, reason: str = "") -> str:
    """A strategy and its reason: `converge in place: 1 role changes, which needs no new root`."""
    words = _WAYS.get(str(kind), str(kind))
    return f"{words}: {reason}" if reason else words


def counts(numbers: Mapping[VmState, int], *, waiting: bool = True) -> str:
    """The number of VMs in each state: `1 failed, 18 done, 480 waiting`."""
    found = {str(state): number for state, number in numbers.items() if number}
    return ", ".join(
        f"{found[state]} {state}"
        for state in _ORDER
        if state in found and (waiting or state != "waiting")
    )


def names(of: Sequence[str], most: int = 6) -> str:
    """The names of VMs: `dev1, dev2 and dev3`, `dev1, dev2 and 48 more`."""
    if len(of) > most:
        return f"{', '.join(of[:most])} and {len(of) - most} more"
    return " and ".join(filter(None, [", ".join(of[:-1]), *of[-1:]]))


def first_line(text: str) -> str:
    """The first line of a text."""
    return text.strip().partition("\n")[0]


def why(progress: VmProgress) -> str:
    """The reason for a VM's state, in one line."""
    return progress.failure or first_line(progress.why)


def clock(at: str) -> str:
    """An ISO 8601 time in the local time zone: `14:35`; empty if it can't be parsed."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M}"
    except ValueError:
        return ""


def seconds_between(start: str, end: datetime | str) -> float:
    """Seconds from one ISO 8601 time to another; 0 if one can't be parsed."""
    try:
        until = datetime.fromisoformat(end) if isinstance(end, str) else end
        return max(0.0, (until - datetime.fromisoformat(start)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def vm(progress: VmProgress) -> str:
    """A VM's state and details in one line: `done in 34 s`, `failed: nginx does not start`."""
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
    """The details of a VM's state: `in 34 s`, `nginx does not start`."""
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
    """Whether a rollout is paused because somebody asked for it."""
    from devvm.domain.rollout.state import Cause

    return record.cause is Cause.REQUEST
