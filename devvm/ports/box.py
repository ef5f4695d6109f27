"""What building a box needs from the world, on top of `ports`. Protocols only, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from devvm.domain.box import Box
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.vm import Driver, Target
from devvm.ports.services import Detail


class RoleDeclarations(Protocol):
    """What the roles declare once, for themselves and for devvm."""

    def packages(self) -> tuple[str, ...]:
        """Debian packages that the roles need, sorted, each once."""

    def state_paths(self) -> tuple[str, ...]:
        """Directories that hold state a person would miss; none inside another."""


class RootFilesystems(Protocol):
    """Makes Debian root file systems."""

    def check(self) -> None:
        """Raise `HostNotReadyError` unless one can be made here: rights, programs."""

    def build(
        self,
        packages: Sequence[str],
        *,
        repository: Path,
        sources: Sequence[str],
        destination: Path,
        detail: Detail,
        log: Path,
    ) -> None:
        """Write the tarball of a root with these packages and the account `vagrant`.

        All comes from a flat repository; `sources` become the root's own `sources.list`.
        """


class PackageArchive(Protocol):
    """Debian's archive, by its mirrors."""

    def source_lines(self) -> list[str]:
        """The lines of a machine's `sources.list`."""

    def resolve(self, packages: Sequence[str], *, detail: Detail, log: Path | None) -> PackageSet:
        """What a box with these packages gets of what the mirrors have now."""

    def closure(
        self, repository: Path, packages: Sequence[str], *, log: Path | None
    ) -> dict[tuple[str, str], str]:
        """What it gets of a flat repository: versions by name and architecture."""

    def fetch(
        self, packages: Sequence[Package], folder: Path, *, detail: Detail, log: Path
    ) -> list[str]:
        """Put files into a folder as `SHA256.deb`, as far as mirrors have them.

        Returns:
            The mirrors that can't be reached.
        """


class FlatRepositories(Protocol):
    """Folders of package files that apt can read."""

    def file(self, folder: Path, package: Package) -> Path:
        """Where a package's file belongs in the folder."""

    def index(self, folder: Path, packages: PackageSet) -> None:
        """Write the indices, when all the files are there."""


class PackageCache(Protocol):
    """The packages of boxes that were built here: files, and sets by their releases' hashes."""

    def remember(self, release_hash: str, packages: PackageSet) -> None:
        """Keep a set, and from now on what is here of its files."""

    def remembered(self, release_hash: str) -> PackageSet | None:
        """The set of a release of this hash; None where it is not known."""

    def take(self, package: Package, destination: Path) -> bool:
        """Put a package's file at a place; whether it is here, undamaged."""

    def incoming(self) -> AbstractContextManager[Path]:
        """A folder to download `SHA256.deb` files to; whole ones are taken in at the end."""

    def collect(self, hashes: Collection[str], sets: Collection[PackageSet], days: int) -> int:
        """Remove sets not used for so many days but for `hashes`, and files of no set.

        Files of `sets` stay.

        Returns:
            The room that has come free, bytes.
        """


class RootTrees(Protocol):
    """Root file systems as directories."""

    def unpack(self, tarball: Path, destination: Path, *, log: Path) -> None:
        """Unpack a tarball; what was there before is removed."""

    def remove(self, root: Path) -> None:
        """Delete a tree; nothing where there is none."""

    def anonymise(self, root: Path) -> None:
        """Take out everything that must differ between machines, and every credential."""

    def secrets(self, root: Path) -> list[str]:
        """What must not be in a box, each a sentence that names the file."""

    def packages(self, root: Path) -> dict[tuple[str, str], str]:
        """Versions of installed packages, by name and architecture."""

    def debian(self, root: Path) -> str:
        """Debian's point release."""

    def free_bytes(self, folder: Path) -> int:
        """Space left where a folder is."""


class Containers(Protocol):
    """Boots root file systems without a virtual machine."""

    def booted(
        self, root: Path, *, name: str, detail: Detail, log: Path
    ) -> AbstractContextManager[Target]:
        """A booted container to log in to as `vagrant`; shut down in order at the end."""


class DiskImages(Protocol):
    """Turns root file systems into disks."""

    def assemble(self, root: Path, destination: Path, *, size_gib: int, log: Path) -> None:
        """Write a raw disk with the tree as its one file system."""

    def install_bootloader(
        self,
        disk: Path,
        root: Path,
        destination: Path,
        *,
        driver: Driver,
        detail: Detail,
        log: Path,
    ) -> None:
        """Write a compressed qcow2 of the disk that boots by itself."""


class BoxWriter(Protocol):
    """Packs boxes and puts them where the host finds them."""

    def pack(
        self, image: Path, release: str, destination: Path, packages: PackageSet | None
    ) -> Box:
        """Write the Vagrant box of a disk image: a candidate, not registered, not verified."""

    def register(self, box: Box, facts: Mapping[str, Any]) -> Box:
        """Move a verified candidate to its place; its metadata, written last, makes it a box."""


@dataclass(frozen=True, kw_only=True)
class BuildServices:
    """All that building a box may use, on top of `Services`; made by `devvm.wiring`."""

    declarations: RoleDeclarations
    archive: PackageArchive
    cache: PackageCache
    repositories: FlatRepositories
    roots: RootFilesystems
    trees: RootTrees
    containers: Containers
    images: DiskImages
    writer: BoxWriter
