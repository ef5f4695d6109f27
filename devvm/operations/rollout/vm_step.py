"""One VM in a rollout: decide whether to update it now, and do it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from devvm.domain.check import Report
from devvm.domain.errors import DevvmError, LockedError
from devvm.domain.release.stack import Release
from devvm.domain.release.strategy import Kind, Strategy
from devvm.domain.rollout.plan import Plan
from devvm.domain.rollout.state import VmProgress
from devvm.domain.rollout.state import VmState as Step
from devvm.domain.vm import Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import sessions, unsaved_work
from devvm.operations.rollout import pins
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.update import rollback, strategy, update
from devvm.ports.services import Services

#: Seconds between checks for an answer, or for a lock to be released.
_LOOK_AGAIN = 15.0

_THERE = "it is already on this release"

Tell = Callable[[Step, dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a step.

    Attributes:
        step: The VM's new state; None if it is unchanged, and to be looked at again.
        facts: Details for the event.
        again_at: When to look again.
    """

    step: Step | None
    facts: dict[str, Any]
    again_at: datetime | None = None


def step(
    services: Services,
    plan: Plan,
    release: Release,
    progress: VmProgress,
    run: Run,
    *,
    by: str,
    now: datetime,
    tell: Tell,
) -> Outcome:
    """Update a VM, or say why not now or not at all.

    Args:
        services: The adapters to use.
        plan: The rollout's plan.
        release: The release to update to.
        progress: How far the VM is.
        run: Reports the phases.
        by: Login of the person who carries out the rollout.
        now: The current time.
        tell: Called before anything is changed.

    Raises:
        HostNotReadyError: the host lacks something, so no VM can be updated now.
        DevvmError: the update failed.
    """
    machine = Machine(services, progress.name)
    try:
        if progress.tries:  # an earlier process began it and was killed
            with transaction.changing(machine, run):
                pass
        vm = machine.vm()
        refusal = _refusal(vm, release, progress, now)
        if refusal is not None:
            return refusal
        assert vm is not None
        if not progress.tries and not strategy.is_on(vm, release.release):
            if vm.state is not VmState.RUNNING:
                return _due(services, plan, release, progress, now)
            waiting = _people(services, plan, release, vm, progress, by=by, now=now)
            if waiting is not None:
                return waiting
        return _change(services, plan, release, vm, progress, run, now=now, tell=tell)
    except LockedError as error:
        why = f"somebody is changing it: {error.details}"
        return Outcome(step=None, facts={"why": why}, again_at=_soon(now))


def back(
    services: Services, release: Release, progress: VmProgress, run: Run
) -> tuple[Step, dict[str, Any]]:
    """Roll back a VM that this rollout has updated, or begun to update.

    Raises:
        DevvmError: it can't be rolled back.
    """
    machine = Machine(services, progress.name)
    with transaction.changing(machine, run, start=True):
        pass
    vm = machine.vm()
    if vm is None:
        return Step.LEFT, {"why": "it no longer exists"}
    began = strategy.began(vm, release)
    going = progress.state is Step.GOING_BACK  # perhaps back already, but without its saved work
    if not strategy.is_on(vm, release.release) and not began and not going:
        if progress.state is Step.UPDATING:
            return Step.FAILED, {"why": "stopped; it is as it was before"}
        return Step.BACK, {"why": f"it is on {vm.metadata.release if vm.metadata else '-'}"}
    token = vm.known.restore_point if began else progress.token
    if vm.state is VmState.RUNNING:
        _say(machine, "this VM restarts now and goes back to the previous release")
    report = rollback.go_back(machine, release.release, token, run)
    return Step.BACK, {"why": f"back on {report.release}", "checks": _checks(report)}


def forget_due(machine: Machine, plan: Plan, release: Release) -> bool:
    """Cancel the update of a VM that is due.

    Returns:
        Whether it stays on its release; False if it has started, and has been or is being updated.

    Raises:
        LockedError: another command is changing the VM.
    """
    with machine.services.state.lock(machine.name, f"rollout {plan.id}"):
        vm = machine.vm()
        if vm is None or vm.metadata is None:
            return True
        if strategy.is_on(vm, release.release) or strategy.began(vm, release):
            return False
        if vm.metadata.update_to == release.release:
            rollback.no_update(machine)
        return True


def done(updated: update.Updated, seconds: float) -> dict[str, Any]:
    """Details for the event that a VM is done."""
    return {
        "checks": _checks(updated.report),
        "seconds": round(seconds, 1),
        "token": updated.previous or "",
    }


def _refusal(
    vm: Vm | None, release: Release, progress: VmProgress, now: datetime
) -> Outcome | None:
    if vm is None:
        return _left("it no longer exists")
    if vm.metadata is None or not vm.metadata.ready:
        return _left(f"its create has not finished: devvm destroy {vm.name}")
    if progress.tries:
        return None
    if strategy.is_on(vm, release.release) and not vm.metadata.update_to:
        return _left(_THERE)
    pin = pins.pinned(vm.metadata, now.date())
    return _left(pin) if pin else None


def _left(why: str) -> Outcome:
    return Outcome(step=Step.LEFT, facts={"why": why})


def _soon(now: datetime) -> datetime:
    return now + timedelta(seconds=_LOOK_AGAIN)


def _due(
    services: Services, plan: Plan, release: Release, progress: VmProgress, now: datetime
) -> Outcome:
    """Mark a VM that is off as due: it is updated when it starts."""
    name = progress.name
    with services.state.lock(name, f"rollout {plan.id}"):
        vm = services.domains.vm(name)  # again, now that nobody else can change it
        refusal = _refusal(vm, release, progress, now)
        if refusal is not None:
            return refusal
        assert vm is not None
        if vm.state is VmState.RUNNING:
            return Outcome(step=None, facts={}, again_at=now)
        facts = replace(vm.known, update_to=release.release, update_by=plan.id)
        services.domains.set_metadata(vm.uuid, facts)
    return Outcome(step=Step.DUE, facts={"why": "not running; updated when it starts"})


def _people(
    services: Services,
    plan: Plan,
    release: Release,
    vm: Vm,
    progress: VmProgress,
    *,
    by: str,
    now: datetime,
) -> Outcome | None:
    """Ask active users, or read their answer; None means go ahead."""
    machine = Machine(services, progress.name)
    within = services.config.rollout.active_minutes * 60
    try:
        if progress.state is not Step.ASKED:
            found = sessions.active(machine, within_seconds=within)
            if not found or not plan.terms.ask_minutes:
                return None
            notice = rollout_plan.notice(strategy.by_release(services, vm, release))
            minutes = plan.terms.ask_minutes
            sessions.ask(machine, release.release, minutes, by, notice=notice)
            deadline = now + timedelta(minutes=plan.terms.ask_minutes)
            who = ", ".join(dict.fromkeys(session.login for session in found))
            facts = {"why": f"{who} is active", "deadline": deadline.isoformat(timespec="seconds")}
            return Outcome(step=Step.ASKED, facts=facts, again_at=min(deadline, _soon(now)))
        answer = sessions.answer(machine)
        if answer == "later":
            sessions.clear(machine)
            return Outcome(step=Step.LATER, facts={"why": "postponed by somebody working in it"})
        deadline = datetime.fromisoformat(progress.deadline)
        idle = not sessions.active(machine, within_seconds=within)
        if answer == "now" or idle or now >= deadline:
            sessions.clear(machine)
            return None
        return Outcome(step=None, facts={}, again_at=min(deadline, _soon(now)))
    except DevvmError as error:
        return _left(f"devvm can't log in to it, see devvm doctor: {error.brief}")


class _NotBegunError(Exception):
    """The VM must not be updated, as is seen once its lock is held."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def _change(
    services: Services,
    plan: Plan,
    release: Release,
    vm: Vm,
    progress: VmProgress,
    run: Run,
    *,
    now: datetime,
    tell: Tell,
) -> Outcome:
    machine = Machine(services, vm.name)
    begun_at: float | None = None

    def begin(found: Vm, chosen: Strategy, token: str) -> None:
        nonlocal begun_at
        outcome = _refusal(found, release, progress, now)
        if outcome is None and chosen.kind is Kind.REBUILD:
            outcome = _at_risk(machine)
        if outcome is not None:
            raise _NotBegunError(outcome)
        tell(Step.UPDATING, {"way": str(chosen.kind), "reason": chosen.reason, "token": token})
        begun_at = run.seconds

    there = strategy.is_on(vm, release.release)
    rebuild = plan.terms.rebuild and not there
    request = update.UpdateRequest(name=vm.name, release=release.release, rebuild=rebuild)
    try:
        updated = update.update(services, request, run, begin=begin)
    except _NotBegunError as refusal:
        return refusal.outcome
    except DevvmError:
        if begun_at is not None:
            _say(machine, "the update failed; this VM is as it was before")
        raise
    if begun_at is None:  # updated by a process that died before it could record it
        if not progress.tries and not there:
            return _left(_THERE)
        kept = progress.token if saved_states.find(services, progress.token, of=vm.fqdn) else ""
        facts = {"checks": _checks(updated.report), "token": kept}
        return Outcome(step=Step.DONE, facts=facts)
    _say(machine, f"this VM is now on release {release.release}")
    return Outcome(step=Step.DONE, facts=done(updated, run.seconds - begun_at))


def _at_risk(machine: Machine) -> Outcome | None:
    """An outcome that leaves the VM alone, if a rebuild would lose work; None otherwise."""
    lost = unsaved_work.look(machine).lost
    if not lost:
        return None
    return _left(
        f"a rebuild would replace {lost[0].path}, the only copy of somebody's work; to have "
        f"its owner decide: devvm update {machine}"
    )


def _say(machine: Machine, text: str) -> None:
    with suppress(DevvmError):  # best effort
        sessions.tell(machine, text)


def _checks(report: Report) -> str:
    passed = len(report.checks) - len(list(report.failures()))
    return f"{passed} of {len(report.checks)}"
