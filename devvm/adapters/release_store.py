"""The releases recorded on this host: a folder for each release.

`releases/RELEASE/` has `release.json`, `stack` (a stack's folder, with devvm's own roles and
playbooks in it), `packages.lock` and `production/HASH`. A release is recorded if it has a
`release.json`, which is written last, atomically. That file also says which folder in `production/`
is current, so replacing production is atomic too; the previous folder stays for processes that are
reading it.

Everything belongs to the state folder's group, and nothing is secret: the key that proves secrets
equal (`manifest.key`) stays with whoever captured production.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from devvm.domain import package_set
from devvm.domain.errors import HostNotReadyError, NotFoundError, OperationError, UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release import identity as naming
from devvm.domain.release.stack import Release, Stack
from devvm.stack.folder import DESCRIPTION, StackFolder
from devvm.system import trees
from devvm.system.state import State, write_atomic

_FORMAT = 1
_RECORD = "release.json"


class FolderReleaseStore:
    """Implements `ReleaseStore`.

    Args:
        state: The host's state folder.
        stack: The stack in the working tree.
        production: The folder that describes production.
    """

    def __init__(self, state: State, *, stack: StackFolder, production: Path) -> None:
        self._folder = state.releases
        self._in_hand = stack
        self._production = production

    def list(self) -> list[Release]:
        """All recorded releases, newest first, including retired ones.

        Raises:
            OperationError: a record can't be read.
        """
        found = [_read(path)[0] for path in self._folder.glob(f"*/{_RECORD}")]
        return sorted(found, key=lambda r: (r.created_at, r.release), reverse=True)

    def find(self, release: str) -> Release | None:
        """The recorded release, whatever the date in its name, or None.

        Raises:
            OperationError: a record can't be read.
        """
        return next((r for r in self.list() if naming.same_release(r.release, release)), None)

    def stack(self, release: str) -> Stack:
        """The stack of a recorded release.

        Raises:
            NotFoundError: the release is not recorded.
            OperationError: it can't be read.
        """
        record, _ = self._record(release)
        folder = self._folder / record.release / "stack"
        try:
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        except OSError as error:
            raise _unreadable(folder, str(error)) from None
        if not files:
            raise _unreadable(folder, "it is empty")
        return Stack(files=files, packages=record.packages)

    def working_tree_stack(self, packages: Mapping[str, str]) -> Stack:
        """The working tree's stack, as a release would record it, with its box's packages.

        Raises:
            OperationError: it can't be read.
        """
        files = {name: content for name, content, _ in self._files_in_hand()}
        return Stack(files=files, packages=packages)

    def package_set(self, release: str) -> PackageSet | None:
        """The exact packages of a recorded release; None if they weren't recorded.

        Raises:
            NotFoundError: the release is not recorded.
            OperationError: they can't be read.
        """
        path = self._folder / self._record(release)[0].release / package_set.FILE
        try:
            return package_set.parse(path.read_bytes().decode(), str(path))
        except FileNotFoundError:  # an older devvm built its box
            return None
        except (OSError, ValueError, UsageError) as error:
            raise _unreadable(path, str(error)) from None

    def production_sha256(self, release: str) -> str:
        """A hash over the production that is recorded with a release.

        Raises:
            NotFoundError: the release is not recorded.
            OperationError: its record can't be read.
        """
        return self._record(release)[1]

    def configured_production_sha256(self) -> str:
        """The same hash over the production that this devvm is configured with.

        Raises:
            OperationError: it can't be read.
        """
        return _sha256(_production(self._production))

    def folders(self, release: str) -> tuple[StackFolder, Path]:
        """The folders of a recorded release's stack and production.

        Raises:
            NotFoundError: the release is not recorded.
            OperationError: a record can't be read.
        """
        record, production_sha256 = self._record(release)
        folder = self._folder / record.release
        return _stack(folder), _kept_production(folder, production_sha256)

    def folder(self, release: str) -> StackFolder | None:
        """The folder of a recorded release's stack.

        Returns:
            None if the release is not recorded, or was by an older devvm, which did not keep all
            of a stack.

        Raises:
            OperationError: a record can't be read.
        """
        record = self.find(release)
        if record is None:
            return None
        kept = _stack(self._folder / record.release)
        return kept if record.stack or _is_whole(kept) else None

    def write(self, release: Release, packages: PackageSet | None = None) -> None:
        """Record a release, with the working tree's stack and current production, all or nothing.

        If it is recorded already, only its production is replaced.

        Args:
            release: The record.
            packages: Its exact packages; None for one of an older devvm, named by content only.

        Raises:
            OperationError: the working tree can't be read, or is not (or no longer) this release.
            HostNotReadyError: this user can't write there.
        """
        folder = self._folder / release.release
        new = not (folder / _RECORD).exists()
        try:
            if new:
                with suppress(OSError):
                    trees.remove(folder)  # left by a killed process
                self._copy_stack(folder)
                if packages is not None:
                    _write(folder / package_set.FILE, packages.text().encode(), 0o640)
            before = None if new else _read(folder / _RECORD)[1]
            sha256 = self._copy_production(folder, before)
            if new and not _is_of(folder, release.release, packages):
                trees.remove(folder)
                raise OperationError(
                    f"the release {release.release} was not put on record: the stack changed "
                    "meanwhile",
                    details=f"what is in {self._in_hand.root} now is another release",
                    resolution="devvm release create",
                )
            self._save(release, sha256)
        except OSError as error:
            raise _unwritable(release.release, error) from None

    def change(self, release: Release) -> None:
        """Update the record of a release; its stack and production stay the same.

        Raises:
            NotFoundError: the release is not recorded.
            HostNotReadyError: this user can't write there.
        """
        try:
            self._save(release, self._record(release.release)[1])
        except OSError as error:
            raise _unwritable(release.release, error) from None

    def _record(self, release: str) -> tuple[Release, str]:
        """A recorded release, and the hash over its production."""
        found = self.find(release)
        if found is None:
            raise NotFoundError(
                f"the release {release} is not on record", resolution="devvm release list"
            )
        return _read(self._folder / found.release / _RECORD)

    def _files_in_hand(self) -> Iterator[tuple[str, bytes, bool]]:
        """The files of the working tree's stack: path, content, and whether it is executable."""
        try:
            for name, path in self._in_hand.files():
                yield name, path.read_bytes(), bool(path.stat().st_mode & 0o100)
        except OSError as error:
            raise OperationError(
                "the working tree can't be read",
                details=f"{error.filename}: {error.strerror}",
                resolution="fix that, then: devvm release create",
            ) from None

    def _copy_stack(self, folder: Path) -> None:
        _make(folder)
        _make(folder / "stack")
        for path, content, executable in self._files_in_hand():
            # Modes as in a checkout, for roles that copy them; others can't enter this folder.
            _write(folder / "stack" / path, content, 0o755 if executable else 0o644)

    def _copy_production(self, folder: Path, before: str | None) -> str:
        """Copy the current production beside the previous one, and return its hash."""
        files = _production(self._production)
        sha256 = _sha256(files)
        kept = _kept_production(folder, sha256)
        _make(kept.parent)
        for path in kept.parent.iterdir():  # older ones, and leftovers of killed processes
            if path not in (kept, before and _kept_production(folder, before)):
                trees.remove(path)
        if not kept.exists():
            unfinished = Path(tempfile.mkdtemp(dir=kept.parent, prefix="."))
            _share(unfinished, 0o2775)
            for name, content in files.items():
                _write(unfinished / name, content, 0o640)
            unfinished.rename(kept)
        return sha256

    def _save(self, release: Release, production_sha256: str) -> None:
        content = {
            "format": _FORMAT,
            **asdict(release),
            "packages": dict(release.packages),
            "production_sha256": production_sha256,
        }
        record = self._folder / release.release / _RECORD
        write_atomic(record, json.dumps(content, indent=2) + "\n", mode=0o640)
        _share(record, 0o640)


def _is_of(folder: Path, release: str, packages: PackageSet | None) -> bool:
    """Whether the content of a folder matches the hash in the release's name."""
    content = _stack(folder).content()
    expected = naming.release_hash(content, packages) if packages else content
    return expected == naming.hash_of(release)


def _stack(folder: Path) -> StackFolder:
    return StackFolder(folder / "stack")


def _is_whole(stack: StackFolder) -> bool:
    """Whether a record without the stack's name has its description or checks nevertheless."""
    return (stack.root / DESCRIPTION).exists() or stack.checks.exists()


def _kept_production(folder: Path, sha256: str) -> Path:
    return folder / "production" / sha256[:16]


def _production(folder: Path) -> dict[str, bytes]:
    """The files that describe production, without private ones, by their paths in its folder.

    Raises:
        OperationError: a file can't be read.
    """
    from devvm.parity.production import production  # and YAML, which most commands don't read

    found = [*production.files(folder, "dev"), folder / "roles.yml", folder / "waivers.yml"]
    try:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found if p.is_file()}
    except OSError as error:
        raise OperationError(
            f"{error.filename} can't be read",
            details=error.strerror,
            resolution="to see production_dir: devvm config show",
        ) from None


def _sha256(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir()
        _share(folder, 0o2775)


def _write(destination: Path, content: bytes, mode: int) -> None:
    """Write a file and sync it to disk, creating its folders if needed."""
    for parent in reversed(destination.parents):
        _make(parent)
    with destination.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _share(destination, mode)


def _share(path: Path, mode: int) -> None:
    """Give the state folder's group access, whoever created the file and whatever the umask."""
    if path.stat().st_gid != path.parent.stat().st_gid:
        os.chown(path, -1, path.parent.stat().st_gid)
    path.chmod(mode)


def _read(record: Path) -> tuple[Release, str]:
    """Read a record, and the hash over the production recorded with it."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        found = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(record, f"{type(error).__name__}: {error}") from None
    if found != _FORMAT:
        raise _unreadable(record, f"it has format {found}, this devvm reads {_FORMAT}")
    try:
        return _release(content), _text(content["production_sha256"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(record, f"missing or invalid: {error}") from None


def _release(content: Mapping[str, Any]) -> Release:
    previous, retired_at = content["previous"], content["retired_at"]
    return Release(
        release=_text(content["release"]),
        created_at=_text(content["created_at"]),
        created_by=_text(content["created_by"]),
        note=_text(content["note"]),
        stack=_text(content.get("stack", "")),  # older records have none
        previous=None if previous is None else _text(previous),
        changes=tuple(_text(line) for line in content["changes"]),
        packages={_text(k): _text(v) for k, v in content["packages"].items()},
        retired_at=None if retired_at is None else _text(retired_at),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(repr(value))
    return value


def _unreadable(path: Path, reason: str) -> OperationError:
    return OperationError(
        f"{path} can't be read",
        details=reason,
        resolution="restore it from a backup; or, if it is damaged: sudo rm -r "
        f"{path.parent}; devvm release create, in a working tree of that release",
    )


def _unwritable(release: str, error: OSError) -> HostNotReadyError:
    return HostNotReadyError(
        f"the release {release} can't be put on record",
        details=str(error),
        resolution="devvm setup",
    )
