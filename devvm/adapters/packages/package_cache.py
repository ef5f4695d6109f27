"""The packages of the boxes that were built here: their files, by content, and their sets.

`packages/debs/SHA256.deb` and `packages/locks/HASH.lock` in the state folder, HASH being the
release's. A build reads from here first, so a release can be built again when no mirror has its
packages any more. Nothing in here is trusted: a file counts when it has the hash that it is named
by, a set when the release's hash comes of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devvm.domain import package_set
from devvm.domain.errors import DevvmError
from devvm.domain.package_set import Package, PackageSet
from devvm.system import trees
from devvm.system.state import State, write_atomic

_LOCK = "packages"
_DAY = 24 * 3600


class PackageCache:
    """Satisfies `PackageCache`.

    Args:
        state: The state folder that it is in.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._folder = state.root / "packages"
        self._debs = self._folder / "debs"
        self._locks = self._folder / "locks"

    def remember(self, release_hash: str, packages: PackageSet) -> None:
        """Keep a release's set, and from now on what is here of its files.

        Raises:
            DevvmError: it can't be written.
        """
        for folder in (self._folder, self._debs, self._locks):
            folder.mkdir(mode=0o755, exist_ok=True)
        with self._state.wait_lock(_LOCK):
            write_atomic(self._locks / f"{release_hash}.lock", packages.text(), mode=0o644)

    def remembered(self, release_hash: str) -> PackageSet | None:
        """The set of a release of this hash; None where it is not known, or damaged."""
        path = self._locks / f"{release_hash}.lock"
        try:
            return package_set.parse(path.read_bytes().decode(), str(path))
        except (OSError, UnicodeDecodeError, DevvmError):
            return None  # whoever asks says that nothing is known of it

    def take(self, package: Package, destination: Path) -> bool:
        """Put a package's file at a place, from here; whether there was one.

        One that is damaged is dropped. The file is not to be written to.
        """
        kept = self._debs / f"{package.sha256}.deb"
        try:
            if _sha256(kept) != package.sha256:
                kept.unlink()
                return False
            _link(kept, destination)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder to download `SHA256.deb` files to. Whole ones are taken in at the end.

        So are those that a process left which was killed.
        """
        with self._state.wait_lock(_LOCK):
            for left in self._folder.glob("incoming-*"):
                with suppress(BlockingIOError), _held(left):
                    self._take_in(left)
            folder = Path(tempfile.mkdtemp(prefix="incoming-", dir=self._folder))
            descriptor = _hold(folder)
        try:
            yield folder
        finally:
            self._take_in(folder)
            os.close(descriptor)

    def collect(self, hashes: Collection[str], sets: Collection[PackageSet], days: int) -> int:
        """Remove what nobody needs: sets not used for so many days, and files of no set.

        Args:
            hashes: Releases whose sets stay.
            sets: Sets that are kept elsewhere: what is here of their files stays.
            days: For how long a set is kept that is not among these.

        Returns:
            The room that has come free, bytes.
        """
        if not self._debs.is_dir():
            return 0
        freed = 0
        with self._state.wait_lock(_LOCK):
            needed = {package.sha256 for some in sets for package in some}
            for path in self._locks.glob("*.lock"):
                known = self.remembered(path.stem)
                old = time.time() - path.stat().st_mtime > days * _DAY
                if known is None or (old and path.stem not in hashes):
                    path.unlink()
                else:
                    needed |= {package.sha256 for package in known}
            for path in self._debs.iterdir():
                if path.name.removesuffix(".deb") not in needed:
                    freed += path.stat().st_size
                    path.unlink()
        return freed

    def _take_in(self, folder: Path) -> None:
        for path in folder.glob("*.deb"):
            if _sha256(path) == path.stem:
                path.chmod(0o644)
                path.replace(self._debs / path.name)
        trees.remove(folder)


def _hold(folder: Path) -> int:
    """Take a folder's lock, which the kernel drops however its owner ends.

    Raises:
        BlockingIOError: its owner lives.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    descriptor = _hold(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _link(kept: Path, destination: Path) -> None:
    destination.unlink(missing_ok=True)
    with suppress(OSError):  # another file system
        destination.hardlink_to(kept)
        return
    shutil.copyfile(kept, destination)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
