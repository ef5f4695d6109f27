"""Rollouts as JSON, with the stable keys of docs/json.md; see `devvm.cli.serializers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devvm.domain.rollout.plan import Plan, Terms
    from devvm.domain.rollout.state import Record, VmProgress
    from devvm.operations.rollout.plan import Planned


def record(found: Record, *, vms: bool = True) -> dict[str, Any]:
    """A rollout.

    Args:
        found: The record of the rollout.
        vms: Include its waves, with every VM in them.
    """
    from devvm.domain.rollout.state import VmState

    plan, numbers = found.plan, found.counts()
    data: dict[str, Any] = {
        "id": plan.id,
        "release": plan.terms.release,
        "state": found.state,
        "why": found.why or None,
        "by": plan.by,
        "started_at": found.started_at,
        "ended_at": found.ended_at,
        "wave": found.wave or None,
        "terms": terms(plan.terms),
        "changes": plan.changes,
        "counts": {state: numbers[state] for state in VmState},
        "notes": found.notes,
    }
    if vms:
        data["waves"] = [
            {"name": wave.name, "vms": [_vm(one) for one in found.of(wave)]} for wave in plan.waves
        ]
    return data


def terms(asked: Terms) -> dict[str, Any]:
    """The terms of a rollout, without its release."""
    return {
        "canary": asked.canary,
        "waves": asked.waves,
        "max_failures": asked.max_failures,
        "parallel": asked.parallel,
        "rebuild": asked.rebuild,
        "ask_minutes": asked.ask_minutes,
        "vms": asked.only,
    }


def _vm(one: VmProgress) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "why": one.why or None,
        "way": one.way or None,
        "reason": one.reason or None,
        "since": one.since or None,
        "started_at": one.started_at or None,
        "seconds": one.seconds,
        "checks": one.checks or None,
        "phase": one.phase or None,
        "deadline": one.deadline or None,
        "log": one.log or None,
        "previous": one.token or None,
    }


def plan(made: Plan, planned: Iterable[Planned]) -> dict[str, Any]:
    """A plan."""
    of_wave: dict[str, list[dict[str, Any]]] = {wave.name: [] for wave in made.waves}
    for one in planned:
        of_wave[one.wave].append(_planned(one))
    return {
        "release": made.terms.release,
        "changes": made.changes,
        "terms": terms(made.terms),
        "waves": [{"name": name, "vms": vms} for name, vms in of_wave.items()],
    }


def _planned(one: Planned) -> dict[str, Any]:
    return {
        "name": one.name,
        "engineer": one.engineer,
        "release": one.release,
        "way": one.strategy.kind,
        "reason": one.strategy.reason,
        "notice": one.notice,
        "waits": one.why or None,
    }
