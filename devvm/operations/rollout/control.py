"""Starts, resumes, pauses, aborts and rolls back rollouts: what people do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from devvm.domain.errors import UsageError
from devvm.domain.rollout.plan import Plan
from devvm.domain.rollout.state import Record, State
from devvm.operations.rollout import store
from devvm.operations.rollout.engine import Rollout
from devvm.operations.rollout.store import Request, RolloutLog
from devvm.operations.update import strategy
from devvm.ports.services import Services

Make = Callable[[RolloutLog], Rollout]


@contextmanager
def started(services: Services, plan: Plan, *, command: str) -> Iterator[RolloutLog]:
    """A new rollout on record, and the right to carry it out.

    The plan is carried out as it was agreed on. What has become of a VM since, that it is gone,
    pinned or on the release, is seen when its turn comes.

    Args:
        services: Where.
        plan: Who goes when.
        command: What was typed, told to others.

    Raises:
        LockedError: another is being carried out.
        UsageError: the latest has not ended, or the release is retired by now.
        NotFoundError: the release is not on record any more, or its box is gone.
    """
    with store.held(services, command):
        logs = store.every(services)
        if logs and not (last := logs[-1].record()).ended:
            raise UsageError(
                f"the rollout {last.plan.id} has not finished: it is {last.state}",
                details=last.why or None,
                resolution="devvm rollout resume, or: devvm rollout abort",
            )
        strategy.in_use(services, plan.terms.release)
        yield store.new(services, plan)


@contextmanager
def taken_up(
    services: Services, identifier: str | None, *, command: str, ended: bool = False
) -> Iterator[RolloutLog]:
    """A rollout on record, and the right to carry it on.

    Args:
        services: Where.
        identifier: Which; by default the latest.
        command: What was typed, told to others.
        ended: Whether one that has ended is meant, too.

    Raises:
        NotFoundError: there is none.
        LockedError: one is being carried out.
        UsageError: it has ended.
    """
    with store.held(services, command):
        log = store.find(services, identifier)
        record = log.record()
        if record.ended and not ended:
            raise _has_ended(record)
        log.obey()  # what was asked of a process that is no more
        yield log


def ask(services: Services, identifier: str | None, request: Request) -> tuple[RolloutLog, bool]:
    """Ask the process that carries a rollout out to pause or to abort it.

    Returns:
        The rollout, and whether a process is there to obey.

    Raises:
        NotFoundError: there is none.
        UsageError: it has ended, or its VMs are being brought back.
    """
    log = store.find(services, identifier)
    record = log.record()
    if record.ended:
        raise _has_ended(record)
    busy = store.holder(services) is not None
    if record.state in (State.STOPPING, State.ROLLING_BACK):
        raise UsageError(
            f"the rollout {record.plan.id} is {record.state} and has to be finished first",
            resolution="devvm rollout status --follow" if busy else "devvm rollout resume",
        )
    if busy:
        log.ask_for(request)
    return log, busy


def abort(services: Services, identifier: str | None, make: Make, *, command: str) -> State:
    """Abort a rollout that no process carries out; VMs that are half way there go back.

    Raises:
        LockedError: a process carries it out: `ask` it.
    """
    with taken_up(services, identifier, command=command) as log:
        rollout = make(log)
        return rollout.abort(f"aborted by {rollout.by}")


def roll_back(services: Services, identifier: str | None, make: Make, *, command: str) -> State:
    """Bring every VM of a rollout back to its own previous state.

    Raises:
        NotFoundError: there is none.
        LockedError: a process carries it out.
        UsageError: it has been rolled back already.
    """
    with taken_up(services, identifier, command=command, ended=True) as log:
        rollout = make(log)
        if rollout.ledger.state is State.ROLLED_BACK and not rollout.stuck:
            raise UsageError(
                f"the rollout {log.id} has already been rolled back", resolution="devvm list"
            )
        return rollout.roll_back(f"requested by {rollout.by}")


def records(services: Services) -> list[Record]:
    """Every rollout, the oldest first."""
    return [log.record() for log in store.every(services)]


def _has_ended(record: Record) -> UsageError:
    return UsageError(
        f"the rollout {record.plan.id} has ended: it is {record.state}",
        details=record.why or None,
        resolution="devvm rollout start RELEASE, or: devvm rollout rollback",
    )
