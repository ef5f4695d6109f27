"""Start, resume, pause, abort and roll back rollouts."""

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
    """Record a new rollout, and hold the rollout lock.

    The plan is carried out as agreed. Whether a VM has since been deleted, pinned or updated is
    checked when its turn comes.

    Args:
        services: The adapters to use.
        plan: The VMs, in waves.
        command: What was typed, shown to whoever finds the lock held.

    Raises:
        LockedError: another rollout is being carried out.
        UsageError: the latest rollout has not ended, or the release is retired.
        NotFoundError: the release is no longer on record, or has no box.
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
def locked_rollout(
    services: Services, identifier: str | None, *, command: str, ended: bool = False
) -> Iterator[RolloutLog]:
    """Find a recorded rollout, and hold the rollout lock.

    Args:
        services: The adapters to use.
        identifier: The rollout's name; by default, the latest.
        command: What was typed, shown to whoever finds the lock held.
        ended: Whether the rollout may have ended.

    Raises:
        NotFoundError: there is no such rollout.
        LockedError: a rollout is being carried out.
        UsageError: it has ended, and `ended` is false.
    """
    with store.held(services, command):
        log = store.find(services, identifier)
        record = log.record()
        if record.ended and not ended:
            raise _has_ended(record)
        log.clear_request()  # a request to a process that has died
        yield log


def ask(services: Services, identifier: str | None, request: Request) -> tuple[RolloutLog, bool]:
    """Ask the process that carries out a rollout to pause or abort it.

    Returns:
        The rollout, and whether a process is carrying it out.

    Raises:
        NotFoundError: there is no such rollout.
        UsageError: it has ended, or its VMs are being rolled back.
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
    """Abort a rollout that no process is carrying out; half-updated VMs are rolled back.

    Raises:
        LockedError: a process is carrying it out; use `ask`.
    """
    with locked_rollout(services, identifier, command=command) as log:
        rollout = make(log)
        return rollout.abort(f"aborted by {rollout.by}")


def roll_back(services: Services, identifier: str | None, make: Make, *, command: str) -> State:
    """Roll every VM of a rollout back to its previous state.

    Raises:
        NotFoundError: there is no such rollout.
        LockedError: a process is carrying it out.
        UsageError: it has been rolled back already.
    """
    with locked_rollout(services, identifier, command=command, ended=True) as log:
        rollout = make(log)
        if rollout.ledger.state is State.ROLLED_BACK and not rollout.stuck:
            raise UsageError(
                f"the rollout {log.id} has already been rolled back", resolution="devvm list"
            )
        return rollout.roll_back(f"requested by {rollout.by}")


def records(services: Services) -> list[Record]:
    """The record of every rollout, oldest first."""
    return [log.record() for log in store.every(services)]


def _has_ended(record: Record) -> UsageError:
    return UsageError(
        f"the rollout {record.plan.id} has ended: it is {record.state}",
        details=record.why or None,
        resolution="devvm rollout start RELEASE, or: devvm rollout rollback",
    )
