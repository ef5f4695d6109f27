"""Results as JSON, with the stable keys of docs/json.md, which are not our attributes' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from devvm.cli import formatting
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.model import Box, CheckResult, Disk, Kept, MovedPackage, Report, RunRecord, Vm
    from devvm.operations.guest.unsaved_work import Risk
    from devvm.operations.host.setup import HostStatus
    from devvm.operations.vm.snapshots import Snapshot


def vm(machine: Vm) -> dict[str, Any]:
    """A VM, as in the results of `list` and of commands that change one."""
    from devvm.operations.rollout import pins

    metadata, lease = machine.metadata, machine.lease
    pinned = metadata if pins.pinned(metadata, formatting.today()) else None
    return {
        "name": machine.name,
        "fqdn": machine.fqdn,
        "uuid": machine.uuid,
        "state": str(machine.state),
        "ready": bool(metadata and metadata.ready),
        "engineer": metadata.engineer if metadata else None,
        "release": metadata.release if metadata else None,
        "created_at": metadata.created_at if metadata else None,
        "generation": metadata.generation if metadata else None,
        "certificate_until": (metadata.certificate_until or None) if metadata else None,
        "address": lease.address if lease else None,
        "mac": lease.mac if lease else None,
        "driver": str(machine.driver),
        "memory_mib": machine.memory_mib,
        "cpus": machine.cpus,
        "pinned_until": pinned.pinned_until if pinned else None,
        "pinned_by": pinned.pinned_by if pinned else None,
        "pin_reason": pinned.pin_reason if pinned else None,
    }


def disk(drive: Disk) -> dict[str, Any]:
    """A disk of a VM."""
    return {
        "device": drive.device,
        "role": drive.role,
        "path": str(drive.path),
        "size_bytes": drive.size_bytes,
        "used_bytes": drive.used_bytes,
    }


def kept(state: Kept) -> dict[str, Any]:
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
        "disks": [{"role": disk.role, "path": str(disk.path)} for disk in state.disks],
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


def risk(found: Risk) -> dict[str, Any]:
    """Work that a rebuild would move to the trash."""
    return {
        "checkouts": [
            {
                "path": checkout.path,
                "changes": checkout.changes,
                "commits": checkout.commits,
                "stashes": checkout.stashes,
                "on_data_disk": checkout.on_data_disk,
            }
            for checkout in found.checkouts
        ],
        "files": list(found.files),
        "unknown": found.unknown,
    }


def run(record: RunRecord) -> dict[str, Any]:
    """A run with its phases."""
    return {
        "command": record.command,
        "started_at": record.started_at,
        "seconds": record.seconds,
        "result": record.result,
        "phases": [
            {"name": p.name, "title": p.title, "seconds": p.seconds, "result": p.result}
            for p in record.phases
        ],
    }


def check(result: CheckResult) -> dict[str, Any]:
    """One check."""
    return {
        "name": result.name,
        "role": result.role,
        "outcome": str(result.outcome),
        "message": result.message,
        "seconds": result.seconds,
        "difference": result.difference,
        "expected": dict(result.expected) if result.expected is not None else None,
        "found": dict(result.found) if result.found is not None else None,
        "diff": result.diff,
        "waiver": result.waiver,
        "package": result.package,
    }


def report(result: Report) -> dict[str, Any]:
    """A verification."""
    checks = [check(c) for c in result.checks]
    return {
        "vm": result.vm,
        "release": result.release,
        "passed": result.passed,
        "checks_passed": sum(c["outcome"] == "passed" for c in checks),
        "checks_waived": sum(c["outcome"] == "waived" for c in checks),
        "checks_ahead": sum(c["outcome"] == "ahead" for c in checks),
        "checks_total": len(checks),
        "packages_moved": moved_packages(result.moved()),
        "packages_from": result.packages_from,
        "seconds": result.seconds,
        "checks": checks,
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


def box(golden: Box, *, packages: bool = False) -> dict[str, Any]:
    """A box, on request with its packages."""
    data: dict[str, Any] = {
        "release": golden.release,
        "content": golden.content,
        "vagrant_name": golden.vagrant_name,
        "path": str(golden.path),
        "sha256": golden.sha256,
        "size_bytes": golden.size_bytes,
        "built_at": golden.built_at,
        "verified": golden.verified,
        "debian": golden.debian,
    }
    if packages:
        data["packages"] = dict(golden.packages)
        data["packages_moved"] = moved_packages(golden.moved)
    return data


def boxes(goldens: Iterable[Box], current: str) -> dict[str, Any]:
    """All boxes, and the content hash of the working tree's stack."""
    return {"stack": current, "boxes": [box(golden) for golden in goldens]}


def host(status: HostStatus) -> dict[str, Any]:
    """The steps of the host's set-up, done and needed."""
    return {
        "ready": status.ready,
        "steps": [
            {
                "key": step.key,
                "title": step.title,
                "optional": step.optional,
                "done": step.done,
                "needed": list(step.needed),
            }
            for step in status.steps
        ],
    }
