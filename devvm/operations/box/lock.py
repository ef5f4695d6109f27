"""`devvm release lock`: write the packages of the working tree's stack to a file for review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from devvm.domain.errors import HostNotReadyError, NotFoundError, UsageError
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.release import identity
from devvm.operations.box import packages as box_packages
from devvm.operations.core.progress import Run
from devvm.parity.packages.debian import is_older
from devvm.ports.box import PackageArchive, PackageCache
from devvm.ports.services import Services
from devvm.stack.folder import StackFolder
from devvm.system.state import write_atomic


class Kind(StrEnum):
    """How a package changes."""

    ADDED = "added"
    REMOVED = "removed"
    NEWER = "newer"
    OLDER = "older"
    #: The same version, built again or for another architecture.
    REPLACED = "replaced"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A package that changes in the lock; its old and new version, or None if it isn't in it."""

    name: str
    kind: Kind
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class Locked:
    """What `packages.lock` is now, or would be.

    Attributes:
        path: The file.
        packages: The packages in it.
        hash: The hash of the working tree's release with these packages.
        changes: What changes, by name.
        first: Whether there was no lock before.
        written: Whether the file was written.
    """

    path: Path
    packages: PackageSet
    hash: str
    changes: tuple[Change, ...]
    first: bool
    written: bool


def lock(
    stack: StackFolder,
    archive: PackageArchive,
    declared: Sequence[str],
    run: Run,
    *,
    given: PackageSet | None = None,
    check: bool = False,
) -> Locked:
    """Write what the mirror has now into the working tree's `packages.lock`.

    If the packages are the same, the file is not touched.

    Args:
        stack: The stack in the working tree.
        archive: The mirrors.
        declared: The packages that the roles declare.
        run: Reports the phases.
        given: The packages of a release, to use instead of what the mirror has.
        check: Whether to only report, and write nothing.

    Raises:
        UsageError: the stack is part of an installed package, or the given set lacks what the
            roles declare.
        OperationError: the mirror can't be used.
        HostNotReadyError: the file can't be written.
    """
    path = stack.package_lock
    if stack.fixed and not check:
        raise UsageError(
            "this devvm's stack can't be changed",
            details=f"devvm is installed as a package, with its stack in {path.parent}",
            resolution="devvm --stack FOLDER release lock, with a folder of your own",
        )
    old = _present(stack, run)
    if given is not None:
        lacking = given.lacks(declared)
        if lacking:
            raise UsageError(
                "that release lacks packages that the roles in the working tree need",
                details=f"missing: {', '.join(lacking)}",
                resolution="devvm release lock",
            )
        new = given
    else:
        with run.phase("resolve", "Asking the mirror for its packages"):
            new = archive.resolve(declared, detail=run.detail, log=None)
    written = not check and new != old
    if written:
        _write(path, new)
    return Locked(
        path=path,
        packages=new,
        hash=identity.release_hash(stack.content(), new),
        changes=changes(old, new) if old else (),
        first=old is None,
        written=written,
    )


def of_release(services: Services, cache: PackageCache, release: str) -> PackageSet:
    """The packages of a release, from its box, its record or an earlier build.

    Raises:
        NotFoundError: this host doesn't know them.
    """
    name = identity.validate_release(release)
    found = next(box_packages.known(services, name), None)
    found = found or cache.remembered(identity.hash_of(name))
    if found is None:
        raise NotFoundError(
            f"this host doesn't know the exact packages of the release {release}",
            details="no box, release record or earlier build lists them",
            resolution="devvm box list, devvm release list",
        )
    return found


def changes(old: PackageSet, new: PackageSet) -> tuple[Change, ...]:
    """How `new` differs from `old`, by name."""
    before = {package.name: package for package in old}
    after = {package.name: package for package in new}
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if (was.identity if was else "") != (now.identity if now else ""):
            versions = (was.version if was else None, now.version if now else None)
            kind = _kind(was, now)
            found.append(Change(name=name, kind=kind, old=versions[0], new=versions[1]))
    return tuple(found)


def _kind(old: Package | None, new: Package | None) -> Kind:
    if old is None or new is None:
        return Kind.ADDED if old is None else Kind.REMOVED
    if is_older(old.version, new.version):
        return Kind.NEWER
    return Kind.OLDER if is_older(new.version, old.version) else Kind.REPLACED


def _present(stack: StackFolder, run: Run) -> PackageSet | None:
    """The packages in the file; None if it doesn't exist, or can't be read and is replaced."""
    try:
        return stack.packages()
    except UsageError as error:
        run.note(f"Replacing the existing packages.lock: {error.brief}")
        return None


def _write(path: Path, packages: PackageSet) -> None:
    try:
        write_atomic(path, packages.text(), mode=0o644)
    except HostNotReadyError as error:
        raise HostNotReadyError(
            error.brief, details=error.details, resolution=f"ls -ld {path.parent}"
        ) from None
