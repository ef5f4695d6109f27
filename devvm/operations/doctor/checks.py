"""The problems that `devvm doctor` looks for, each with its fix.

Each check looks for one kind of problem and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import OperationError
from devvm.domain.name import OWN_PREFIXES, is_own
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.doctor import fixes
from devvm.operations.guest import ssh
from devvm.operations.pool import pool as pool_of_spares
from devvm.operations.provision import certificate, repair, throwaway
from devvm.operations.storage import base_image
from devvm.ports.services import Services

_GIB = 1024**3
#: Free bytes in the pool below which to warn: QEMU pauses a VM whose disk can't grow.
_LOW = 1 * _GIB

Fix = Callable[[Run], object]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem, and how to fix it.

    Attributes:
        kind: A stable key.
        subject: The VM or other thing that has the problem.
        problem: What is wrong, for people.
        advice: What a person can type, if devvm can't fix it.
        fix: Fixes it, for a caller that holds the lock of `locked`; None if devvm can't.
        locked: The VM whose lock the fix needs.
    """

    kind: str
    subject: str
    problem: str
    advice: str = ""
    fix: Fix | None = None
    locked: str | None = None


def unreadable(services: Services, busy: set[str]) -> Iterator[Finding]:
    """VMs whose journal can't be read; the other checks skip them."""
    for name in sorted(set(services.state.names()) - busy):
        damage = services.state.journal_is_damaged(name)
        if damage:
            yield Finding(
                kind="journal",
                subject=name,
                problem=damage,
                fix=partial(fixes.set_journal_aside, services, name),
                locked=name,
            )


def unfinished(services: Services, busy: set[str]) -> Iterator[Finding]:
    """Operations that were killed before they finished."""
    for name in sorted(set(services.state.names()) - busy):
        begun = services.state.journal(name)
        if begun is not None:
            yield Finding(
                kind="unfinished",
                subject=name,
                problem=f"{begun['operation']}, started {begun['started_at']}, has not finished",
                fix=partial(fixes.end_operation, services, name),
                locked=name,
            )
    for kept in services.domains.saved_states():
        name = kept.vm.name
        if (
            kept.purpose is Purpose.PREVIOUS
            and name not in busy
            and services.state.journal(name) is None
        ):
            yield Finding(
                kind="unfinished",
                subject=name,
                problem=f"a rebuild started {kept.kept_at} has not finished, and its journal "
                "is lost",
                fix=partial(fixes.undo_rebuild, services, kept),
                locked=name,
            )


def vms(services: Services, busy: set[str]) -> Iterator[Finding]:
    """VMs with a problem in their domain, disks, files or DHCP lease."""
    leases = services.network.leases()
    volumes = {volume.path: volume for volume in services.volumes.all()}
    for vm in services.domains.vms():
        name, fqdn = vm.name, naming.fqdn_of(services.config, vm.name)
        if name in busy or services.state.journal(name) is not None:
            continue
        if vm.fqdn != fqdn:
            yield _misnamed(services, vm, fqdn)
            continue
        yield from _disks(vm, set(volumes))
        if vm.metadata is not None and not vm.metadata.ready:
            yield Finding(
                kind="unready",
                subject=name,
                problem="it was never finished: its create was killed, or failed with --keep",
                advice=f"devvm destroy {name}, then: devvm create {name}",
            )
            continue
        if vm.metadata is not None and vm.metadata.restore_point:
            yield Finding(
                kind="half-way",
                subject=name,
                problem=f"its update to {vm.metadata.update_to} was killed: it is between "
                "two releases",
                advice=f"to continue: devvm update {name} --release {vm.metadata.update_to}; "
                f"to go back: devvm recover {name} --item {vm.metadata.restore_point}",
            )
        if vm.state is VmState.PAUSED:
            yield Finding(
                kind="paused",
                subject=name,
                problem="it is paused; QEMU pauses a VM when its disk can't grow",
                advice=f"make room (devvm trash list), then: devvm start {name}",
            )
        lease = leases.get(name)
        if lease is None or lease.mac != vm.mac:
            yield Finding(
                kind="lease",
                subject=name,
                problem="its DHCP lease is lost"
                if lease is None
                else f"the lease is for {lease.mac}, but its network card is {vm.mac}",
                fix=partial(fixes.write_files, services, name),
                locked=name,
            )
        if lost := ssh.missing_files(Machine(services, name), vm.fqdn):
            yield Finding(
                kind="files",
                subject=name,
                problem=f"missing from its folder: {', '.join(lost)}",
                fix=partial(fixes.restore_ssh, services, vm),
                locked=name,
            )


def certificates(services: Services, busy: set[str]) -> Iterator[Finding]:
    """Certificates of running VMs that expire soon; other VMs renew theirs when they start."""
    for vm in services.domains.vms():
        ends = certificate.ends_soon(vm, datetime.now(UTC).date())
        if ends and vm.state is VmState.RUNNING and vm.name not in busy:
            yield Finding(
                kind="certificate",
                subject=vm.name,
                problem=ends,
                fix=partial(fixes.renew_certificate, services, vm),
                locked=vm.name,
            )


def gone(services: Services, busy: set[str]) -> Iterator[Finding]:
    """VMs whose domain is gone, and volumes that no domain needs."""
    there = {vm.name for vm in services.domains.vms()}
    orphans: dict[str, list[str]] = {}
    for volume in services.volumes.unused():
        name = naming.name_of(services.config, volume.name)
        if name is not None:
            orphans.setdefault(name, []).append(volume.name)
    for name in sorted((set(services.state.names()) | set(orphans)) - busy):
        if services.state.journal(name) is not None:
            continue
        if name.startswith(OWN_PREFIXES):
            continue
        if name in there:
            if name in orphans:
                yield _orphans(services, name, orphans[name])
        elif name in orphans:
            saved = (services.state.vm(name) / repair.DEFINITION).is_file()
            yield _deleted(services, name) if saved else _orphans(services, name, orphans[name])
        else:
            yield Finding(
                kind="folder",
                subject=name,
                problem="it has a folder, but no domain and no disks",
                fix=partial(fixes.forget, services, name),
                locked=name,
            )


def leftovers(services: Services, busy: set[str]) -> Iterator[Finding]:
    """VMs that devvm made for itself, and volumes of them, that nothing will use."""
    names = {path.name.partition(".")[0] for path in throwaway.leftover_volumes(services)}
    names |= {name for name in services.state.names() if is_own(name)}
    for name in sorted(names - busy):
        yield Finding(
            kind="leftover",
            subject=name,
            problem="devvm made this VM for itself, and was killed before it had removed it",
            fix=partial(throwaway.remove_leftovers, services),
        )


def stray_snapshots(services: Services, busy: set[str]) -> Iterator[Finding]:
    """Snapshots of VMs that don't exist, are not in the trash and can't be redefined."""
    there = {vm.uuid for vm in services.domains.vms()}
    kept_states = services.domains.saved_states()
    there |= {kept.uuid for kept in kept_states if kept.destroyed}
    for kept in kept_states:
        name = kept.vm.name
        if kept.purpose is not Purpose.SNAPSHOT or kept.uuid in there or name in busy:
            continue
        saved = (services.state.vm(name) / repair.DEFINITION).is_file()
        if not saved and services.state.journal(name) is None:
            yield Finding(
                kind="stray-snapshot",
                subject=name,
                problem=f"the VM of the snapshot {kept.label} is gone",
                fix=partial(fixes.to_trash, services, kept),
                locked=name,
            )


def stale_leases(services: Services, busy: set[str]) -> Iterator[Finding]:
    """DHCP leases of VMs that don't exist."""
    there = {vm.name for vm in services.domains.vms()} | set(services.state.names()) | busy
    for name in sorted(set(services.network.leases()) - there):
        yield Finding(
            kind="stale-lease",
            subject=name,
            problem="the network has a DHCP lease for it, but no such VM exists",
            fix=partial(fixes.release_lease, services, name),
            locked=name,
        )


def kept_states(services: Services, busy: set[str]) -> Iterator[Finding]:
    """Saved states that have lost a disk, or whose disks a VM is writing to."""
    volumes = {volume.path for volume in services.volumes.all()}
    written = {disk.path: vm.name for vm in services.domains.vms() for disk in vm.disks}
    for kept in services.domains.saved_states():
        name = kept.vm.name
        if name in busy or kept.purpose is Purpose.PREVIOUS:
            continue
        what = f"{kept.purpose} {kept.id} ({kept.label})"
        if any(disk.path in written for disk in kept.disks):
            if services.state.journal(name) is None:
                yield Finding(
                    kind="unfinished",
                    subject=name,
                    problem=f"{what} was started but not finished: the VM still has these disks",
                    fix=partial(fixes.delete_saved_state, services, kept),
                    locked=name,
                )
        elif lost := [str(disk.path) for disk in kept.disks if disk.path not in volumes]:
            yield Finding(
                kind="kept",
                subject=name,
                problem=f"missing from the {what}: {', '.join(lost)}",
                advice={
                    Purpose.TRASH: f"devvm trash empty {kept.id}",
                    Purpose.WARM: f"devvm box warm {kept.vm.release}",
                    Purpose.SPARE: "devvm pool fill",
                }.get(kept.purpose, f"devvm snapshot delete {name} {kept.label}"),
            )


def box_images(services: Services, _busy: set[str]) -> Iterator[Finding]:
    """Damaged boxes, and missing or damaged box images that VMs are based on."""
    known: set[Path] = set()
    for box in services.boxes.list():
        known.add(services.config.pool_path / services.vagrant.volume_name(box))
        damaged = services.boxes.damage(box)
        if damaged:
            yield Finding(
                kind="box",
                subject=box.release,
                problem=f"the box is damaged: {damaged}",
                advice="sudo devvm box build --force",
            )
        elif wrong := base_image.damage(services, box):
            yield Finding(
                kind="box-image",
                subject=box.release,
                problem=f"VMs are based on it, and {wrong}",
                fix=partial(base_image.place, services, box),
            )
    volumes = {volume.path: volume for volume in services.volumes.all()}
    for volume in volumes.values():
        if volume.below and volume.below not in volumes and volume.below not in known:
            name = naming.name_of(services.config, volume.name)
            yield Finding(
                kind="box-image",
                subject=name or volume.name,
                problem=f"{volume.name} is based on {volume.below}, which is gone",
                advice=f"devvm rebuild {name}" if name else "",
            )


def pool(services: Services, _busy: set[str]) -> Iterator[Finding]:
    """A pool that is nearly full."""
    free = services.volumes.free_bytes()
    if free < _LOW:
        yield Finding(
            kind="pool",
            subject=services.config.pool,
            problem=f"{free / _GIB:.1f} GiB are free in {services.config.pool_path}",
            advice="delete what is not needed: devvm trash list, devvm box list, devvm list",
        )


def spares(services: Services, _busy: set[str]) -> Iterator[Finding]:
    """A pool of spare VMs that lacks some, or has some that are of no use any more."""
    try:
        found = pool_of_spares.look(services)
    except OperationError as error:
        yield Finding(
            kind="spares",
            subject=services.config.pool,
            problem=f"{error.brief}: {error.details}",
            advice=error.resolution or "",
        )
        return
    if found.right or found.filling:
        return
    why = f"; {found.failure}" if found.failure else ""
    for release, count in found.missing.items():
        yield Finding(
            kind="spares",
            subject=release,
            problem=f"{count} of {found.wanted[release]} spare VMs are missing{why}",
            fix=partial(pool_of_spares.fill, services),
        )
    for one in found.spares:
        if one.stale:
            yield Finding(
                kind="spares",
                subject=one.kept.id,
                problem=f"the spare VM is of no use any more: {one.stale}",
                fix=partial(pool_of_spares.drop_stale, services),
            )


def strangers(services: Services, busy: set[str]) -> Iterator[Finding]:
    """Domains that are named like a VM of devvm's but are not one.

    Skips a domain that `create` has made but not marked yet: its UUID is in the journal.
    """
    for fqdn, reason in services.domains.others().items():
        name = naming.name_of(services.config, fqdn)
        if name is None or fqdn != naming.fqdn_of(services.config, name) or name in busy:
            continue
        uuid = services.domains.uuid(fqdn)
        begun = services.state.journal(name)
        if begun is not None and uuid == begun.get("uuid"):
            continue
        saved = services.state.vm(name) / repair.DEFINITION
        if saved.is_file() and uuid and f"<uuid>{uuid}</uuid>" in saved.read_text("utf-8"):
            yield Finding(
                kind="facts",
                subject=name,
                problem=f"devvm's metadata in its domain is lost ({reason})",
                fix=partial(fixes.restore_facts, services, name),
                locked=name,
            )
        else:
            yield Finding(
                kind="stranger",
                subject=name,
                problem=f"there is a domain {fqdn}: {reason}; devvm leaves it alone",
                advice=f"to look at it: virsh dominfo {fqdn}; to use the name, rename or remove it",
            )


CHECKS = (
    unfinished, strangers, vms, certificates, gone, leftovers, stray_snapshots, kept_states,
    stale_leases, box_images, pool, spares,
)  # fmt: skip


def _misnamed(services: Services, vm: Vm, fqdn: str) -> Finding:
    if services.domains.uuid(fqdn) is not None:
        return Finding(
            kind="copy",
            subject=vm.name,
            problem=f"the domain {vm.fqdn} says that it is {vm.name}, but {fqdn} exists too",
            advice="devvm did not make this copy and leaves it alone; to make devvm forget "
            f"it: virsh metadata {vm.fqdn} --remove --config "
            "https://devvm.invalid/xmlns/domain/1",
        )
    return Finding(
        kind="renamed",
        subject=vm.name,
        problem=f"its domain was renamed to {vm.fqdn}"
        + ("; renaming it back shuts it down first" if vm.state is not VmState.SHUTOFF else ""),
        fix=partial(fixes.rename, services, vm, fqdn),
        locked=vm.name,
    )


def _disks(vm: Vm, volumes: set[Path]) -> Iterator[Finding]:
    for disk in vm.disks:
        if disk.path in volumes:
            continue
        if disk.role == ROOT:
            advice = f"for a new one that keeps the data: devvm rebuild {vm.name}"
        else:
            advice = f"devvm snapshot list {vm.name}; devvm trash show {vm.name}"
        what = {ROOT: "root", DATA: "data"}.get(disk.role, disk.role)
        yield Finding(
            kind="disk",
            subject=vm.name,
            problem=f"its {what} disk is gone: {disk.path}",
            advice=advice,
        )


def _deleted(services: Services, name: str) -> Finding:
    return Finding(
        kind="domain",
        subject=name,
        problem="its domain was deleted; its disks still exist",
        fix=partial(fixes.redefine, services, name),
        locked=name,
    )


def _orphans(services: Services, name: str, volumes: list[str]) -> Finding:
    return Finding(
        kind="orphans",
        subject=name,
        problem=f"no domain needs its {', '.join(volumes)}",
        fix=partial(fixes.collect, services, name),
        locked=name,
    )
