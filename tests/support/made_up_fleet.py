"""A made-up fleet as returned by `devvm.operations.fleet.report`, the same every time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from devvm.domain.check import Outcome
from devvm.domain.release.age import behind
from devvm.domain.release.stack import Release
from devvm.domain.rollout.plan import Plan, Terms, Wave
from devvm.domain.rollout.state import Record, State, VmProgress
from devvm.domain.rollout.state import VmState as Step
from devvm.domain.vm import Driver, Lease, Metadata, Vm, VmState
from devvm.operations.fleet.report import FleetVm, HostLine, Overview, ReleaseLine
from devvm.operations.fleet.status import Standing
from devvm.operations.verify.fleet import OfCheck
from devvm.operations.verify.last_result import FailedCheck, ParityRecord

GIB = 1024**3
AT = "2026-11-25T20:05:00+00:00"
NEWEST, OLDER, OLDEST = (
    "2026.11.24-3c4d5e6f7081",
    "2026.11.16-2b3c4d5e6f70",
    "2026.11.09-1a2b3c4d5e6f",
)
UNKNOWN = "2026.08.03-0f0f0f0f0f0f"
REDIS = FailedCheck(
    name="unit/redis-server.service", role="redis", outcome=Outcome.FAILED,
    message="expected active, found failed",
)  # fmt: skip
POOL_SIZE = FailedCheck(
    name="setting/mariadb/innodb_buffer_pool_size", role="mariadb", outcome=Outcome.FAILED,
    message="expected 268435456, found 134217728",
)  # fmt: skip
RELEASES = (
    Release(
        release=NEWEST, created_at="2026-11-24T09:30:00+00:00", created_by="pat",
        note="HTTP/2, and MariaDB's security update",
        previous=OLDER,
        changes=(
            "MariaDB 10.11.6 → 10.11.11", "nginx: http2 on",
            "site: a migration of the schema (0007_team)",
        ),
    ),
    Release(
        release=OLDER, created_at="2026-11-16T10:00:00+00:00", created_by="sam",
        previous=OLDEST,
        changes=("redis: maxmemory 64 MiB → 128 MiB", "openssl 3.0.15 → 3.0.17"),
    ),
    Release(
        release=OLDEST, created_at="2026-11-09T10:00:00+00:00", created_by="pat",
        retired_at="2026-11-24T09:31:00+00:00",
    ),
)  # fmt: skip


def vm(number: int) -> FleetVm:
    """The VM `devNUMBER`; its problems depend only on its number."""
    name = f"dev{number}"
    release = [NEWEST, NEWEST, OLDER, NEWEST, OLDER, NEWEST, OLDEST, NEWEST, NEWEST, NEWEST][
        number % 10
    ]
    if number % 29 == 0:
        release = UNKNOWN
    failing = (REDIS,) * (number % 7 == 0) + (POOL_SIZE,) * (number % 14 == 0)
    checked = number % 11 != 0
    record = ParityRecord(
        at=f"2026-11-{25 - number % 5:02}T18:{number % 60:02}:00+00:00", release=release,
        passed=not failing, checks_passed=2611 - len(failing), checks_failed=len(failing),
        checks_waived=12, checks_ahead=2, checks_total=2625, seconds=31.5, failing=failing,
    )  # fmt: skip
    pinned = number % 17 == 0
    metadata = Metadata(
        name=name, engineer=f"engineer{number}" if number % 3 else name, release=release,
        created_at="2026-11-01T08:00:00+00:00", ready=True,
        pinned_until="2099-12-04" if pinned else "", pinned_by="ann" if pinned else "",
        pin_reason="demo for the sales team on Friday" if pinned else "",
        update_to=NEWEST if number % 13 == 0 and release == OLDER else "",
    )  # fmt: skip
    running = number % 9 != 0
    machine = Vm(
        name=name, fqdn=f"{name}.devvm.test", uuid=f"00000000-0000-4000-8000-{number:012}",
        state=VmState.RUNNING if running else VmState.SHUTOFF, driver=Driver.KVM,
        memory_mib=2048 if number % 4 else 4096, cpus=2, metadata=metadata,
        lease=Lease(mac="52:54:00:00:00:01", address="10.1.2.3", fqdn=f"{name}.devvm.test"),
    )  # fmt: skip
    return FleetVm(
        vm=machine,
        standing=Standing(behind=behind(release, RELEASES), parity=record if checked else None),
        used_bytes=int((2.1 + number % 13 * 0.7) * GIB),
    )


def rollout(identifier: str, release: str, waves: Mapping[str, Sequence[str]], **more) -> Record:
    """A rollout by pat, given its waves; none of its VMs has been started on."""
    plan = Plan(
        id=identifier, by="pat", terms=Terms(release=release),
        waves=tuple(Wave(name=name, vms=tuple(vms)) for name, vms in waves.items()),
    )  # fmt: skip
    vms = {n: VmProgress(name=n, wave=wave.name) for wave in plan.waves for n in wave.vms}
    return Record(plan=plan, vms=vms, **more)


def rollouts(vms: tuple[FleetVm, ...]) -> tuple[Record, ...]:
    """A rollout in progress and one that has ended."""
    names = [one.vm.name for one in vms]
    half = 2 + len(names) // 2
    first = names[2:half]
    now = rollout(
        "20261125-1", NEWEST, {"canary": names[:2], "50%": first, "100%": names[half:]},
        started_at="2026-11-25T19:00:00+00:00",
    )  # fmt: skip
    why = {first[3]: (Step.FAILED, "parity: unit/redis-server.service differs; put back")}
    why |= dict.fromkeys(first[5:8], (Step.ASKED, "its owner is at work; asked until 21:30"))
    reached = {
        name: replace(now.vms[name], state=state, why=reason)
        for name in names[:half]
        for state, reason in [why.get(name, (Step.DONE, ""))]
    }
    then = rollout(
        "20261116-1", OLDER, {"100%": names}, state=State.DONE,
        started_at="2026-11-16T19:00:00+00:00", ended_at="2026-11-16T20:41:00+00:00",
    )  # fmt: skip
    done = {name: replace(vm, state=Step.DONE) for name, vm in then.vms.items()}
    return replace(now, vms={**now.vms, **reached}), replace(then, vms=done)


def overview(count: int) -> Overview:
    """A fleet of this many VMs; at least ten."""
    vms = tuple(vm(number) for number in range(1, count + 1))
    releases = []
    for name, record in [*((r.release, r) for r in RELEASES), (UNKNOWN, None)]:
        having = [one for one in vms if one.release == name]
        checked = [one.standing.parity for one in having if one.standing.parity]
        releases.append(
            ReleaseLine(
                release=name, record=record, behind=behind(name, RELEASES),
                vms_total=len(having), vms_matching=sum(p.passed for p in checked),
                vms_differing=sum(not p.passed for p in checked),
            )
        )  # fmt: skip
    checks = []
    for check in (REDIS, POOL_SIZE):
        names = [o.vm.name for o in vms if o.standing.parity and check in o.standing.parity.failing]
        checks.append(
            OfCheck(
                check=check.name, checks_total=1, vms=tuple(sorted(names)), message=check.message
            )
        )
    running = [one for one in vms if one.vm.state is VmState.RUNNING]
    given = sum(one.vm.memory_mib for one in running)
    host = HostLine(
        uri="qemu:///system", vms=count, running=len(running), memory_mib=given + 40960,
        memory_free_mib=32768, memory_running_mib=given,
        memory_vms_mib=sum(one.vm.memory_mib for one in vms),
        pool_vms_bytes=sum(one.used_bytes for one in vms), pool_kept_bytes=61 * GIB,
        pool_boxes_bytes=8 * GIB, pool_free_bytes=420 * GIB,
    )  # fmt: skip
    return Overview(
        at=AT, vms=vms, releases=tuple(releases), checks=tuple(checks), rollouts=rollouts(vms),
        hosts=(host,),
    )  # fmt: skip
