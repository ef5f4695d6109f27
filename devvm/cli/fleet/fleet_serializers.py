"""The fleet as JSON, with the stable keys of docs/json.md; see `serializers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devvm.cli import serializers
from devvm.cli.serializers import as_json

if TYPE_CHECKING:
    from devvm.domain.rollout.plan import Wave
    from devvm.domain.rollout.state import Record
    from devvm.domain.vm import Vm
    from devvm.operations.fleet.report import FleetVm, Overview, ReleaseLine
    from devvm.operations.fleet.status import Standing
    from devvm.operations.verify.last_result import ParityRecord


def vm(machine: Vm, standing: Standing) -> dict[str, Any]:
    """A VM with its release status and its last check."""
    return {
        **serializers.vm(machine),
        "behind": standing.behind,
        "parity": parity(standing.parity) if standing.parity else None,
    }


def parity(record: ParityRecord) -> dict[str, Any]:
    """The result of a VM's last check."""
    return {
        "at": record.at,
        "passed": record.passed,
        "failed": record.checks_failed,
        "ahead": record.checks_ahead,
        "packages_moved": serializers.moved_packages(record.moved),
        "total": record.checks_total,
    }


def overview(fleet: Overview) -> dict[str, Any]:
    """The whole fleet."""
    return {
        "at": fleet.at,
        "vms": [_vm(one) for one in fleet.vms],
        "releases": [_release(one) for one in fleet.releases],
        "by_check": as_json(fleet.checks),
        "rollouts": [_rollout(one) for one in fleet.rollouts],
        "hosts": as_json(fleet.hosts),
    }


def _vm(one: FleetVm) -> dict[str, Any]:
    metadata = one.vm.metadata
    return {
        **vm(one.vm, one.standing),
        "update_to": (metadata and metadata.update_to) or None,
        "disk_used_bytes": one.used_bytes,
    }


def _release(one: ReleaseLine) -> dict[str, Any]:
    record = one.record
    return {
        "release": one.release,
        "on_record": record is not None,
        "created_at": record.created_at if record else None,
        "created_by": record.created_by if record else None,
        "note": record.note if record else None,
        "changes": list(record.changes) if record else [],
        "retired_at": record.retired_at if record else None,
        "behind": one.behind,
        "vms_total": one.vms_total,
        "vms_matching": one.vms_matching,
        "vms_differing": one.vms_differing,
    }


def _rollout(record: Record) -> dict[str, Any]:
    return {
        "id": record.plan.id,
        "release": record.plan.terms.release,
        "state": record.state,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "by": record.plan.by,
        "waves": [_wave(record, wave) for wave in record.plan.waves],
    }


def _wave(record: Record, wave: Wave) -> dict[str, Any]:
    return {
        "name": wave.name,
        "total": len(wave.vms),
        **record.tally(wave)._asdict(),
        "vms": [{"name": vm.name, "state": vm.state, "why": vm.why} for vm in record.of(wave)],
    }
