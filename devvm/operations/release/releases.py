"""`devvm release …`: create, list, show, diff, retire.

A recorded release keeps its roles, its playbooks and the production of its time. Rollouts check VMs
against that production, so a release is recorded only if its own box passes against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from devvm.domain.box import Box
from devvm.domain.errors import NotFoundError, OperationError, UsageError
from devvm.domain.release import changelog
from devvm.domain.release.identity import same_release, validate_release
from devvm.domain.release.stack import Difference, Release, difference, same_stack
from devvm.operations.box import check
from devvm.operations.box import in_hand as box_in_hand
from devvm.operations.core.progress import Run
from devvm.operations.rollout import store
from devvm.operations.verify import gate
from devvm.ports.services import Services

#: May be typed instead of the name of the newest current release.
LATEST = "latest"
#: The name of the lock on all records; no VM can have it.
_LOCK = "the record of releases"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A recorded release, and its VMs and box on this host.

    Attributes:
        record: The release.
        vms: Names of the VMs on it.
        box: Whether its box is registered.
    """

    record: Release
    vms: tuple[str, ...] = ()
    box: bool = False


@dataclass(frozen=True, kw_only=True)
class Created:
    """The result of `create`.

    Attributes:
        listed: The release.
        new: Whether it was not on record before.
        production_renewed: Whether it was on record, and its production has been replaced.
    """

    listed: Listed
    new: bool
    production_renewed: bool = False


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two releases, and how they differ.

    Attributes:
        old: The release to compare with.
        new: The release that is compared.
        words: What `new` changes, one line each.
        difference: The same as data, to be counted.
    """

    old: Release
    new: Release
    words: tuple[str, ...]
    difference: Difference


def create(
    services: Services, run: Run, *, by: str, note: str | None = None, newest: bool = False
) -> Created:
    """Record the stack in the working tree, whose box must exist, and production with it.

    If the release is on record already, its production is replaced, and it is no longer retired. If
    `create` is killed, the record is either as before or complete.

    Args:
        services: The adapters to use.
        run: Reports the phases.
        by: Login of the person who creates it.
        note: A note on the release; None keeps the note that it has.
        newest: Whether to ignore `packages.lock`.

    Raises:
        NotFoundError: there is no box of the working tree.
        LockedError: another command is changing the records.
        OperationError: the box fails checks against the working tree's production.
    """
    with _lock(services, run):
        box = _box(services, newest=newest)
        known = services.releases.find(box.release)
        in_hand = services.releases.configured_production_sha256()
        kept = services.releases.production_sha256(known.release) if known else None
        if in_hand != (kept or box.production_sha256):
            _demand_passing(services, box, run)
        if known is None:
            record = _new_record(services, box, by=by, note=note or "")
        else:
            given = known.note if note is None else note
            record = replace(known, note=given, retired_at=None)
        if kept != in_hand:
            services.releases.write(record, services.boxes.package_set(box))
        elif record != known:
            services.releases.change(record)
        else:
            run.note(f"The release {record.release} is already on record")
    return Created(
        listed=_listed(services, [record])[0],
        new=known is None,
        production_renewed=known is not None and kept != in_hand,
    )


def list_releases(services: Services) -> list[Listed]:
    """Every recorded release, newest first.

    Raises:
        OperationError: a record can't be read.
    """
    return _listed(services, services.releases.list())


def find(services: Services, name: str) -> Release:
    """The release of this name, or the newest current one of the working tree's stack for `latest`.

    Raises:
        UsageError: this is not the name of a release, or the release is not on record.
    """
    if name == LATEST:
        stack = services.stack.description().name
        found = _newest(services.releases.list(), stack)
        if found is None:
            raise NotFoundError(
                f"there is no current release of the stack {stack} on record",
                resolution="devvm release create",
            )
        return found
    found = services.releases.find(validate_release(name))
    if found is None:
        raise NotFoundError(f"the release {name} is not on record", resolution="devvm release list")
    return found


def show(services: Services, name: str) -> Listed:
    """A recorded release, and its VMs and box.

    Raises:
        UsageError: there is no such release.
    """
    return _listed(services, [find(services, name)])[0]


def diff(services: Services, old: str, new: str) -> Compared:
    """Compare two releases, either of which may be the older one.

    Raises:
        UsageError: one of them is not on record.
        OperationError: one of them can't be read.
    """
    a, b = find(services, old), find(services, new)
    before, after = services.releases.stack(a.release), services.releases.stack(b.release)
    return Compared(
        old=a, new=b, words=changelog.words(before, after), difference=difference(before, after)
    )


def retire(services: Services, name: str, run: Run) -> Listed:
    """Retire a release: it stays on record, but no VM is updated to it any more.

    Raises:
        UsageError: there is no such release, or VMs are on it or being updated to it.
        LockedError: another command is changing the records.
    """
    with _lock(services, run):
        listed = show(services, name)
        _refuse_in_use(services, listed)
        if listed.record.retired_at:
            run.note(f"The release {listed.record.release} is already retired")
            return listed
        now = datetime.now(UTC).isoformat(timespec="seconds")
        retired = replace(listed.record, retired_at=now)
        services.releases.change(retired)
        return replace(listed, record=retired)


def _refuse_in_use(services: Services, listed: Listed) -> None:
    release = listed.record.release
    refused = f"the release {release} can't be retired"
    if listed.vms:
        others = [r for r in services.releases.list() if r != listed.record]
        newest = _newest(others, listed.record.stack)
        raise UsageError(
            f"{refused}: VMs run it",
            details=", ".join(listed.vms),
            resolution=f"update them to another one first: devvm rollout start {newest.release}"
            if newest
            else "create another one first: devvm release create",
        )
    going = next((r for log in store.every(services) if not (r := log.record()).ended), None)
    if going is not None and going.plan.terms.release == release:
        raise UsageError(
            f"{refused}: the rollout {going.plan.id} updates VMs to it",
            details=f"it is {going.state}",
            resolution="devvm rollout abort",
        )
    facts = [vm.metadata for vm in services.domains.vms() if vm.metadata]
    due = [vm for vm in facts if vm.update_to == release]
    if due:
        raise UsageError(
            f"{refused}: VMs are being updated to it, or will be at their next start",
            details=", ".join(vm.name for vm in due),
            resolution=f"devvm rollout rollback {due[0].update_by}, or: devvm start {due[0].name}"
            if due[0].update_by
            else f"devvm update {due[0].name}",
        )


def _lock(services: Services, run: Run) -> AbstractContextManager[None]:
    return services.state.lock(_LOCK, run.command)


def _box(services: Services, *, newest: bool) -> Box:
    """The box of the working tree."""
    box = box_in_hand.find(services, newest=newest)
    if box is None:
        raise NotFoundError(
            "there is no box of the working tree",
            details="meanwhile the stack was changed or the box removed",
            resolution="devvm release create",
        )
    if not box.packages:
        raise OperationError(
            f"the packages in the box {box.release} are unknown",
            details="the record of the box was lost, so devvm can't say what it changes",
            resolution="sudo devvm box build --force; devvm release create",
        )
    return box


def _demand_passing(services: Services, box: Box, run: Run) -> None:
    """Check a box against the working tree's production, which may have changed since its build."""
    report = check.check(services, box, run)
    gate.demand_passed(
        services, report, run,
        what=f"the box {box.release}",
        against="against the working tree's production",
        outcome="the record is unchanged",
        meanwhile=f"for the full result: devvm box verify {box.release}",
        resolution="sudo devvm box build",
    )  # fmt: skip


def _new_record(services: Services, box: Box, *, by: str, note: str) -> Release:
    stack = services.stack.description().name
    previous = _newest(services.releases.list(), stack)
    brought: tuple[str, ...] = ()
    if previous is not None:
        before = services.releases.stack(previous.release)
        brought = changelog.words(before, services.releases.working_tree_stack(box.packages))
    return Release(
        release=box.release,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=by,
        note=note,
        stack=stack,
        previous=previous.release if previous else None,
        changes=brought,
        packages=dict(box.packages),
    )


def _newest(records: Iterable[Release], stack: str) -> Release | None:
    """The newest current release of a stack; `records` are sorted newest first."""
    current = (record for record in records if record.retired_at is None)
    return next((record for record in current if same_stack(record.stack, stack)), None)


def _listed(services: Services, records: list[Release]) -> list[Listed]:
    machines = services.domains.vms()
    boxes = [box.release for box in services.boxes.list()]
    return [
        Listed(
            record=record,
            vms=tuple(
                vm.name
                for vm in machines
                if vm.metadata and same_release(vm.metadata.release, record.release)
            ),
            box=any(same_release(box, record.release) for box in boxes),
        )
        for record in records
    ]
