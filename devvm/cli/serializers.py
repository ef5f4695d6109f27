"""Results as JSON, with the stable keys of docs/json.md.

If a result's attributes are the documented keys, `as_json` prints it unchanged. The other functions
are for results with computed or omitted keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devvm.cli import formatting
from devvm.domain.check import Outcome
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.box import Box
    from devvm.domain.check import MovedPackage, Report
    from devvm.domain.errors import DevvmError
    from devvm.domain.saved_state import SavedState
    from devvm.domain.vm import Vm
    from devvm.operations.host.setup import HostStatus
    from devvm.operations.vm.snapshots import Snapshot


def as_json(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """A value as JSON types; a dataclass becomes an object with its attributes as keys."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    match value:
        case Mapping():
            return {key: as_json(one) for key, one in value.items()}
        case list() | tuple():
            return [as_json(one) for one in value]
        case Path():
            return str(value)
        case _:
            return value


def error(raised: DevvmError) -> dict[str, Any]:
    """An error."""
    return {
        "code": raised.code,
        "brief": raised.brief,
        "details": raised.details,
        "resolution": raised.resolution,
        "log": raised.log,
        "exit_code": int(raised.exit_code),
    }


def vm(machine: Vm) -> dict[str, Any]:
    """A VM, as in the results of `list` and of commands that change one."""
    from devvm.operations.rollout import pins

    metadata, lease = machine.metadata, machine.lease
    pinned = metadata if pins.pinned(metadata, formatting.today()) else None
    return {
        "name": machine.name,
        "fqdn": machine.fqdn,
        "uuid": machine.uuid,
        "state": machine.state,
        "ready": bool(metadata and metadata.ready),
        "engineer": metadata.engineer if metadata else None,
        "release": metadata.release if metadata else None,
        "stack": (metadata.stack or None) if metadata else None,
        "created_at": metadata.created_at if metadata else None,
        "generation": metadata.generation if metadata else None,
        "certificate_until": (metadata.certificate_until or None) if metadata else None,
        "address": lease.address if lease else None,
        "mac": lease.mac if lease else None,
        "driver": machine.driver,
        "memory_mib": machine.memory_mib,
        "cpus": machine.cpus,
        "pinned_until": pinned.pinned_until if pinned else None,
        "pinned_by": pinned.pinned_by if pinned else None,
        "pin_reason": pinned.pin_reason if pinned else None,
    }


def kept(state: SavedState) -> dict[str, Any]:
    """An item in the trash."""
    return {
        "id": state.id,
        "name": state.vm.name,
        "label": state.label,
        "kept_at": state.kept_at,
        "expires_at": state.expires_at,
        "engineer": state.vm.engineer or None,
        "release": state.vm.release or None,
        "whole": state.whole,
        "disks": [{"role": disk.role, "path": disk.path} for disk in state.disks],
    }


def snapshot(found: Snapshot) -> dict[str, Any]:
    """A snapshot of a VM."""
    return {
        "id": found.kept.id,
        "name": found.kept.label,
        "vm": found.kept.vm.name,
        "created_at": found.kept.kept_at,
        "release": found.kept.vm.release,
        "consistency": found.kept.consistency,
        "used_bytes": found.used_bytes,
    }


def report(result: Report) -> dict[str, Any]:
    """A verification."""
    return {
        "vm": result.vm,
        "release": result.release,
        "passed": result.passed,
        **counts(result),
        "packages_moved": moved_packages(result.moved()),
        "packages_from": result.packages_from,
        "seconds": result.seconds,
        "checks": as_json(result.checks),
    }


def counts(result: Report) -> dict[str, int]:
    """How many checks of a verification had each outcome."""
    outcomes = Counter(check.outcome for check in result.checks)
    return {
        "checks_passed": outcomes[Outcome.PASSED],
        "checks_waived": outcomes[Outcome.WAIVED],
        "checks_ahead": outcomes[Outcome.AHEAD],
        "checks_total": len(result.checks),
    }


def moved_packages(packages: Iterable[MovedPackage]) -> list[dict[str, Any]]:
    """Packages that match a release but not production."""
    return [
        {
            "package": one.name,
            "production": one.production,
            "found": one.found,
            "newer": moved.is_newer(one),
        }
        for one in packages
    ]


def box(golden: Box, warm: SavedState | None, *, packages: bool = False) -> dict[str, Any]:
    """A box and its warm box, if it has one; its packages only on request."""
    data: dict[str, Any] = {
        "release": golden.release,
        "content": golden.content,
        "vagrant_name": golden.vagrant_name,
        "path": golden.path,
        "sha256": golden.sha256,
        "size_bytes": golden.size_bytes,
        "built_at": golden.built_at,
        "verified": golden.verified,
        "debian": golden.debian,
        "applications": golden.applications,
        "warm": warm and {"made_at": warm.kept_at, "fits": warm.fits},
    }
    if packages:
        data["packages"] = golden.packages
        data["packages_moved"] = moved_packages(golden.moved)
    return data


def host(status: HostStatus) -> dict[str, Any]:
    """The steps of the host's set-up, done and needed."""
    steps = [{**vars(step), "done": step.done} for step in status.steps]
    return {"ready": status.ready, "steps": steps}
