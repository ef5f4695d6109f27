"""The whole fleet at a glance: releases, parity, rollouts, disk and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devvm.config import Config
from devvm.domain.check import CheckResult, Report
from devvm.domain.disk import Volume
from devvm.domain.release.age import behind
from devvm.domain.release.stack import Release
from devvm.domain.rollout.state import Record
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import naming
from devvm.operations.fleet import status as standing
from devvm.operations.fleet.status import Standing
from devvm.operations.rollout import store
from devvm.operations.verify.fleet import FleetReport, OfCheck
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class FleetVm:
    """A VM, its standing, and the bytes its disks take on the host (None if it has no disks).

    Layers that clones share count for each of them; the box's image counts for none.
    """

    vm: Vm
    standing: Standing
    used_bytes: int | None

    @property
    def release(self) -> str | None:
        """Its release; None if unknown."""
        return self.vm.metadata.release if self.vm.metadata else None


@dataclass(frozen=True, kw_only=True)
class ReleaseLine:
    """A release that is on record or that a VM has.

    Attributes:
        release: Its name.
        record: Its record, if there is one.
        behind: How many current releases are newer.
        vms_total: How many VMs have it.
        vms_matching: How many of them matched production when last checked.
        vms_differing: How many didn't.
    """

    release: str
    record: Release | None
    behind: int | None
    vms_total: int
    vms_matching: int
    vms_differing: int


@dataclass(frozen=True, kw_only=True)
class HostLine:
    """A libvirt host.

    Attributes:
        uri: Its libvirt URI.
        vms: How many VMs it has.
        running: How many of them are running.
        memory_mib: Its memory.
        memory_free_mib: Memory that is free for a new VM.
        memory_running_mib: Memory assigned to its running VMs.
        memory_vms_mib: Memory assigned to all its VMs.
        pool_vms_bytes: Space in the pool that its VMs' disks take.
        pool_kept_bytes: Space that only saved states need: snapshots and the trash.
        pool_boxes_bytes: Space that box images and anything else take.
        pool_free_bytes: Space left in the pool.
    """

    uri: str
    vms: int
    running: int
    memory_mib: int
    memory_free_mib: int
    memory_running_mib: int
    memory_vms_mib: int
    pool_vms_bytes: int
    pool_kept_bytes: int
    pool_boxes_bytes: int
    pool_free_bytes: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The fleet.

    Attributes:
        at: When this was collected; ISO 8601, UTC.
        vms: Every VM, by name.
        releases: Newest first; those that are not on record last.
        checks: What fails, on the most VMs first.
        rollouts: Newest first.
        hosts: The hosts of the VMs.
    """

    at: str
    vms: tuple[FleetVm, ...]
    releases: tuple[ReleaseLine, ...]
    checks: tuple[OfCheck, ...]
    rollouts: tuple[Record, ...]
    hosts: tuple[HostLine, ...]

    @property
    def running(self) -> int:
        """How many VMs are running."""
        return sum(one.vm.state is VmState.RUNNING for one in self.vms)

    @property
    def latest(self) -> int:
        """How many VMs have the latest release."""
        return sum(one.standing.behind == 0 for one in self.vms)

    @property
    def behind(self) -> tuple[FleetVm, ...]:
        """The VMs that are behind, farthest first."""
        found = [one for one in self.vms if one.standing.behind]
        return tuple(sorted(found, key=lambda one: (-(one.standing.behind or 0), one.vm.name)))

    @property
    def differing(self) -> int:
        """How many VMs didn't match production when last checked."""
        return sum(bool(one.standing.parity and not one.standing.parity.passed) for one in self.vms)


def look(services: Services, *, rollouts: int) -> Overview:
    """Collect the overview of this host, without logging in to any VM.

    Args:
        services: The adapters to use.
        rollouts: How many of the newest rollouts to include.

    Raises:
        HostNotReadyError: libvirt does not answer.
        OperationError: the record of a release can't be read.
    """
    on_record = services.releases.list()
    machines = lifecycle.list_vms(services)
    volumes = {volume.path: volume for volume in services.volumes.all()}
    stands = standing.of(services, machines)
    layers = {vm.name: _layers(services.config, vm, volumes) for vm in machines}
    vms = tuple(
        FleetVm(
            vm=vm,
            standing=stands[vm.name],
            used_bytes=sum(volumes[p].used_bytes for p in layers[vm.name]) if vm.disks else None,
        )
        for vm in machines
    )
    return Overview(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        vms=vms,
        releases=_releases(vms, on_record),
        checks=_checks(vms),
        rollouts=tuple(log.record() for log in reversed(store.every(services)[-rollouts:])),
        hosts=(_host(services, machines, volumes, set().union(*layers.values())),),
    )


def _layers(config: Config, vm: Vm, volumes: Mapping[Path, Volume]) -> set[Path]:
    """The volumes of a VM's disks, except the box's image below its root."""
    found: set[Path] = set()
    for disk in vm.disks:
        path: Path | None = disk.path
        while path is not None and path in volumes and path not in found:
            if naming.name_of(config, path.name) is not None:
                found.add(path)
            path = volumes[path].below
    return found


def _releases(vms: Sequence[FleetVm], on_record: Sequence[Release]) -> tuple[ReleaseLine, ...]:
    members: dict[str, list[FleetVm]] = {}
    for one in vms:
        if one.release is not None:
            members.setdefault(one.release, []).append(one)
    records = {record.release: record for record in on_record}
    others = sorted(members.keys() - records.keys(), reverse=True)
    return tuple(
        ReleaseLine(
            release=name,
            record=records.get(name),
            behind=behind(name, on_record),
            vms_total=len(having),
            vms_matching=sum(parity.passed for parity in checked),
            vms_differing=sum(not parity.passed for parity in checked),
        )
        for name in (*records, *others)
        for having in [members.get(name, [])]
        for checked in [[one.standing.parity for one in having if one.standing.parity]]
    )


def _checks(vms: Sequence[FleetVm]) -> tuple[OfCheck, ...]:
    """What fails, grouped as `devvm verify --all` does."""
    reports = {}
    for one in vms:
        if parity := one.standing.parity:
            checks = tuple(
                CheckResult(name=c.name, role=c.role, outcome=c.outcome, message=c.message)
                for c in parity.failing
            )
            reports[one.vm.name] = Report(
                vm=one.vm.name, release=parity.release, checks=checks, seconds=parity.seconds
            )
    return FleetReport(reports=reports).by_check()


def _host(
    services: Services, machines: Sequence[Vm], volumes: Mapping[Path, Volume], used: set[Path]
) -> HostLine:
    memory, free = services.host.memory_mib()
    running = [vm for vm in machines if vm.state is VmState.RUNNING]
    parts = {"vms": 0, "kept": 0, "boxes": 0}
    for path, volume in volumes.items():
        of_a_vm = naming.name_of(services.config, path.name) is not None
        part = "vms" if path in used else "kept" if of_a_vm else "boxes"
        parts[part] += volume.used_bytes
    return HostLine(
        uri=services.config.uri,
        vms=len(machines),
        running=len(running),
        memory_mib=memory,
        memory_free_mib=free,
        memory_running_mib=sum(vm.memory_mib for vm in running),
        memory_vms_mib=sum(vm.memory_mib for vm in machines),
        pool_vms_bytes=parts["vms"],
        pool_kept_bytes=parts["kept"],
        pool_boxes_bytes=parts["boxes"],
        pool_free_bytes=services.volumes.free_bytes(),
    )
