"""`devvm box …`: build, list, show, verify, remove.

A box is registered only after a VM created from it has passed every check.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from devvm import __version__
from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.errors import (
    DevvmError,
    HostNotReadyError,
    LockedError,
    NotFoundError,
    OperationError,
    ParityError,
    UsageError,
)
from devvm.domain.release.identity import (
    hash_of,
    new_release,
    release_hash,
    validate_release,
)
from devvm.domain.saved_state import Purpose, SavedState
from devvm.operations.box import in_hand, reimport
from devvm.operations.box import packages as box_packages
from devvm.operations.box.check import check
from devvm.operations.box.pipeline import BoxBuild
from devvm.operations.box.stages import StageLog
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import freeze
from devvm.operations.storage import frozen, saved_states
from devvm.operations.verify import gate
from devvm.parity.packages import moved
from devvm.ports.box import BuildServices
from devvm.ports.services import Services

#: Bytes that the stages need in the build folder.
_NEEDED_BYTES = 6 * 1024**3
_GIB = 1024**3


def list_boxes(services: Services) -> list[Box]:
    """Every registered box, newest first."""
    return services.boxes.list()


def show(services: Services, release: str) -> Box:
    """The registered box of a release.

    Raises:
        UsageError: `release` is not a release's name, or has no box here.
    """
    found = services.boxes.find(validate_release(release))
    if found is None:
        raise NotFoundError(
            f"there is no box of release {release} on this host",
            details="boxes are built from the working tree, whose content is "
            f"{services.stack.content()}",
            resolution="devvm box list",
        )
    return found


def build(
    services: Services,
    tools: BuildServices,
    run: Run,
    *,
    release: str | None = None,
    force: bool = False,
    newest: bool = False,
) -> Box:
    """Build the box of the working tree, verify it in a VM and register it.

    Its packages are those of the given release or of `packages.lock`, or else what the mirror has
    now. If the build is killed, nothing is registered, and the next build of the same box reuses
    the stages that finished since the host booted.

    Args:
        services: The adapters to use.
        tools: The adapters that build boxes.
        run: Reports the phases.
        release: A release of this stack, to build again with its packages.
        force: Whether to build even if the box exists, from the first stage on.
        newest: Whether to ignore `packages.lock`, and use what the mirror has.

    Raises:
        UsageError: `release` is of another stack or its packages are unknown, or `packages.lock`
            can't be used.
        HostNotReadyError: not root, or a tool or disk space is missing.
        LockedError: another command is building a box of this stack.
        OperationError: a package can't be downloaded, or a stage or a check failed.
    """
    if release is not None and not force:
        existing = services.boxes.find(validate_release(release))
        if existing:
            return _there_already(services, tools, existing, run)
    content = services.stack.content()
    if not (release or force or newest) and in_hand.find(services) is None:
        tools.roots.check()
        with _lock(services, content, run):
            adopted = reimport.adopt(services, tools, run)
        if adopted is not None:
            return adopted
    packages = box_packages.decide(services, tools, run, release=release, newest=newest)
    name = new_release(release_hash(content, packages))
    existing = services.boxes.find(name)
    if existing and not force:
        return _there_already(services, tools, existing, run)
    tools.roots.check()
    with _lock(services, content, run):
        existing = services.boxes.find(name)
        if existing and not force:  # another process has just built it
            return existing
        if existing:
            _refuse_if_used(services, existing, "replaced")
        folder = services.state.build / content
        _prepare_folders(services, tools, run, content, force=force)
        tools.cache.remember(hash_of(name), packages)
        work = BoxBuild(services, tools, run, folder, name, packages)
        packed = work.candidate()
        candidate = replace(packed, packages=packages.versions, content=content)
        production = services.releases.configured_production_sha256()
        report = _verify_candidate(services, candidate, run)
        with run.phase("register", "Registering the box"):
            facts = {
                "applications": work.applications(),
                "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "content": content,
                "debian": tools.trees.debian(work.tree),
                "devvm": __version__,
                "kernel": _kernel(packages.versions),
                "moved": [asdict(one) for one in report.moved()],
                "packages": packages.versions,
                "package_set": packages.text().splitlines(),
                "production_sha256": production,
                "stack": services.stack.description().name,
                "stages": work.seconds(),
                "verification": {"checks": len(report.checks), "seconds": report.seconds},
            }
            box = tools.writer.register(candidate, facts)
            _discard(tools, folder)
            box_packages.collect(services, tools)
    if newer := moved.in_a_line(report.moved()):
        run.note(newer)
    return box


def _there_already(services: Services, tools: BuildServices, box: Box, run: Run) -> Box:
    _drop_remains(services, tools, run)
    run.note(f"The box {box.release} already exists; --force builds it again")
    return box


def verify(services: Services, release: str, run: Run) -> Report:
    """Check a registered box: its file by SHA-256, then a VM created from it.

    Raises:
        UsageError: there is no such box.
        OperationError: the file is damaged, or the VM could not be created.
    """
    box = show(services, release)
    with _lock(services, box.content, run):
        with run.phase("checksum", "Checking the box's file"):
            damage = services.boxes.damage(box)
        if damage:
            raise OperationError(
                f"the box {box.release} is damaged",
                details=damage,
                resolution=f"devvm box remove {box.release}; sudo devvm box build",
            )
        return check(services, box, run)


def warm_box(services: Services, box: Box) -> SavedState | None:
    """The warm box of a box; None if it has none."""
    return frozen.warm_box(services, box.release)


def make_warm(services: Services, release: str, run: Run) -> SavedState:
    """Check a box like `verify`, and save the memory of the VM that this is done in.

    Replaces the warm box that there is.

    Raises:
        UsageError: there is no such box.
        ParityError: the VM did not pass.
        OperationError: its memory could not be saved.
    """
    box = show(services, release)
    made: list[SavedState] = []
    with _lock(services, box.content, run):
        report = check(services, box, run, then=lambda vm: made.append(_freeze(vm, run)))
    if not made:
        gate.demand_passed(
            services, report, run,
            what="the box", against=f"on the release {box.release}", outcome="it is not warm",
            resolution=f"devvm box verify {box.release}", kind=ParityError,
        )  # fmt: skip
    return made[0]


def cool(services: Services, release: str, run: Run) -> bool:
    """Remove the warm box of a release, if it has one; the VMs that were made of it stay.

    Returns:
        Whether there was one.
    """
    box = show(services, release)
    with _lock(services, box.content, run):
        found = frozen.warm_boxes(services, box.release)
        for one in found:
            frozen.remove(services, one)
    return bool(found)


def remove(services: Services, tools: BuildServices, release: str, run: Run) -> None:
    """Remove a box from Vagrant and from the pool, and delete its files.

    Its packages stay in the cache for a while, so that it can be built again.

    Raises:
        UsageError: there is no such box, or a VM is based on it.
    """
    box = show(services, release)
    with _lock(services, box.content, run):
        _refuse_if_used(services, box, "removed")
        with run.phase("remove", f"Removing the box {box.release}"):
            _withdraw(services, box)
            services.boxes.remove(box)
            with suppress(PermissionError):  # the next build does it, as root
                box_packages.collect(services, tools)


def _lock(services: Services, content: str, run: Run) -> AbstractContextManager[None]:
    """The lock on all boxes of a stack, by the stack's content."""
    return services.state.lock(f"box-{content}", run.command)


def _prepare_folders(
    services: Services, tools: BuildServices, run: Run, content: str, *, force: bool
) -> None:
    """Create the build's folder, and remove those of other stacks that nobody is building."""
    build_folder = services.state.build
    build_folder.mkdir(mode=0o700, exist_ok=True)
    for folder in build_folder.iterdir():
        if folder.name != content:
            with suppress(LockedError), _lock(services, folder.name, run):
                _discard(tools, folder)
    folder = build_folder / content
    if force:
        _discard(tools, folder)
    started = folder.exists()
    free = tools.trees.free_bytes(build_folder)
    if free < _NEEDED_BYTES and not started:
        raise HostNotReadyError(
            "not enough space to build a box",
            details=f"{build_folder} has {free / _GIB:.1f} GiB free; a build needs "
            f"{_NEEDED_BYTES / _GIB:.0f} GiB",
            resolution="free some space there, or set another state_dir (devvm config show)",
        )
    folder.mkdir(mode=0o700, exist_ok=True)


def _discard(tools: BuildServices, folder: Path) -> None:
    """Remove a build's folder; if this is killed, none of its stages counts as finished."""
    StageLog(folder).forget()
    tools.trees.remove(folder)


def _drop_remains(services: Services, tools: BuildServices, run: Run) -> None:
    """Remove what is left of a build's folder if its removal was killed."""
    content = services.stack.content()
    folder = services.state.build / content
    with suppress(LockedError, PermissionError):  # somebody is building, or only root can look
        if folder.exists() and not StageLog(folder).seconds():
            with _lock(services, content, run):
                _discard(tools, folder)


def _verify_candidate(services: Services, candidate: Box, run: Run) -> Report:
    """Check a candidate in a VM; if it fails, no trace of it stays on the host."""
    _refuse_if_used(services, candidate, "replaced")  # even if the host's records were lost
    old = services.boxes.find(candidate.release)
    if old and old.release == candidate.release:
        services.boxes.remove(old)  # the two have the same name, so they can't coexist
    _withdraw(services, candidate)  # left by a killed build: another image of the same name
    try:
        report = check(services, candidate, run, then=partial(_make_warm, run=run))
        _demand_passed(services, report, run)
    except BaseException:
        _withdraw(services, candidate)
        raise
    return report


def _demand_passed(services: Services, report: Report, run: Run) -> None:
    gate.demand_passed(
        services, report, run,
        what="the box", outcome="it is not registered", resolution="sudo devvm box build",
    )  # fmt: skip


def _make_warm(machine: Machine, run: Run) -> None:
    """Make a warm box too, as a build does; a box is good without one."""
    services = machine.services
    if not services.config.vm.warm:
        return
    needed = frozen.room_needed(services)
    if services.volumes.free_bytes() < needed:
        run.note(
            f"No warm box is made: {services.config.pool_path} should have "
            f"{needed / _GIB:.0f} GiB free"
        )
        return
    try:
        _freeze(machine, run)
    except DevvmError as error:
        run.note(f"There is no warm box: {error.details or error.brief}")


def _freeze(machine: Machine, run: Run) -> SavedState:
    """Make a warm box, which replaces those of its release."""
    services = machine.services
    older = frozen.warm_boxes(services, machine.require().known.release)
    kept = freeze.freeze(machine, run, Purpose.WARM)
    for one in older:
        frozen.remove(services, one)
    return kept


def _withdraw(services: Services, box: Box) -> None:
    """Remove a box from Vagrant and from the pool, with all that is frozen; its files stay."""
    for one in frozen.of(services, box.release):
        frozen.remove(services, one)
    services.vagrant.remove_box(box)
    services.volumes.remove(services.vagrant.volume_name(box))


def _refuse_if_used(services: Services, box: Box, what: str) -> None:
    own = {saved_states.domain_of(services, one) for one in frozen.of(services, box.release)}
    found = services.volumes.users_of(services.vagrant.volume_name(box))
    users = [user for user in found if user not in own]
    if not users:
        return
    commands = []
    for user in users:
        name = user.partition(".")[0]
        kept = saved_states.find(services, user.partition("@")[2]) if "@" in user else None
        if kept is None:
            commands.append(f"devvm destroy {name}")
        elif kept.purpose is Purpose.SNAPSHOT:
            commands.append(f"devvm snapshot delete {name} {kept.label}")
        else:
            commands.append(f"devvm trash empty {name}")
    raise UsageError(
        f"the box {box.release} can't be {what}: VMs or saved states need it",
        details=", ".join(users),
        resolution="; ".join(dict.fromkeys(commands)),
    )


def _kernel(packages: dict[str, str]) -> str:
    return next(
        (
            name.removeprefix("linux-image-")
            for name in packages
            if name.startswith("linux-image-6")
        ),
        "",
    )
