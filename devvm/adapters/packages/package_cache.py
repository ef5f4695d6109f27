"""The packages of boxes built on this host: their files and their package sets.

They are `packages/debs/SHA256.deb` and `packages/locks/HASH.lock` in the state folder; HASH is the
release's. Builds read from this cache first, so a release can be built again after the mirrors
dropped its packages. Its content isn't trusted: a file must have the hash in its name, and a
release's hash must follow from its set.
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
    """Implements `PackageCache`.

    Args:
        state: The host's state folder.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._folder = state.root / "packages"
        self._debs = self._folder / "debs"
        self._locks = self._folder / "locks"

    def remember(self, release_hash: str, packages: PackageSet) -> None:
        """Store a release's package set; its cached files are kept from now on.

        Raises:
            DevvmError: the set can't be written.
        """
        for folder in (self._folder, self._debs, self._locks):
            folder.mkdir(mode=0o755, exist_ok=True)
        with self._state.wait_lock(_LOCK):
            write_atomic(self._locks / f"{release_hash}.lock", packages.text(), mode=0o644)

    def remembered(self, release_hash: str) -> PackageSet | None:
        """The package set of the release with this hash; None if it is missing or damaged."""
        path = self._locks / f"{release_hash}.lock"
        try:
            return package_set.parse(path.read_bytes().decode(), str(path))
        except (OSError, UnicodeDecodeError, DevvmError):
            return None  # for callers, a damaged set is as good as none

    def take(self, package: Package, destination: Path) -> bool:
        """Link or copy a package's file to `destination`; False if it isn't cached intact.

        A damaged file is deleted. Don't write to `destination`: it may be a link.
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
        """A folder to download `SHA256.deb` files to. Complete ones enter the cache at the end.

        Those left by killed processes enter it first.
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
        """Remove package sets that have not been used for a while, and files of no set.

        Args:
            hashes: Hashes of releases whose sets are kept.
            sets: Sets that are stored elsewhere; their cached files are kept.
            days: How long other sets are kept.

        Returns:
            Bytes freed.
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
    """Lock a folder. The kernel releases the lock if its owner dies.

    Raises:
        BlockingIOError: the owner is alive.
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
