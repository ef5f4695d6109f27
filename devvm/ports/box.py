"""The ports for building a box, in addition to `devvm.ports.services`. No I/O."""

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
    """What the roles declare, for their own use and for devvm's."""

    def packages(self) -> tuple[str, ...]:
        """The Debian packages that the roles need, sorted, each once."""

    def state_paths(self) -> tuple[str, ...]:
        """The roles' state paths; none lies inside another."""

    def secret_paths(self) -> tuple[str, ...]:
        """Files that each machine makes for itself, so that no box may have them."""


class RootFilesystems(Protocol):
    """Builds Debian root file systems."""

    def check(self) -> None:
        """Raise `HostNotReadyError` if this process lacks root or the host lacks a program."""

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
        """Write a tarball of a root file system with these packages and the account `vagrant`.

        All packages come from a flat repository. `sources` become the root's `sources.list`.
        """


class PackageArchive(Protocol):
    """Debian's archive and the stack's other repositories, through their mirrors."""

    def mirrors(self, archive: str) -> list[str]:
        """The URLs of an archive or a repository, without logins; none if it is unknown."""

    def source_lines(self) -> list[str]:
        """The lines for a machine's `sources.list`."""

    def resolve(self, packages: Sequence[str], *, detail: Detail, log: Path | None) -> PackageSet:
        """Resolve the packages and their dependencies to what the mirrors have now."""

    def closure(
        self, repository: Path, packages: Sequence[str], *, log: Path | None
    ) -> dict[tuple[str, str], str]:
        """Resolve packages from a flat repository; returns `{(name, architecture): version}`."""

    def fetch(
        self, packages: Sequence[Package], folder: Path, *, detail: Detail, log: Path
    ) -> list[str]:
        """Download packages into a folder as `SHA256.deb`, if a mirror has them.

        Returns:
            The mirrors that can't be reached.
        """


class FlatRepositories(Protocol):
    """Folders of package files that apt can use as a repository."""

    def file(self, folder: Path, package: Package) -> Path:
        """The path of a package's file in the folder."""

    def index(self, folder: Path, packages: PackageSet) -> None:
        """Write the indices. All files must be in the folder already."""


class PackageCache(Protocol):
    """The packages of boxes built on this host: files, and package sets by release hash."""

    def remember(self, release_hash: str, packages: PackageSet) -> None:
        """Store a package set; its cached files are kept from now on."""

    def remembered(self, release_hash: str) -> PackageSet | None:
        """The package set of the release with this hash; None if it isn't cached."""

    def take(self, package: Package, destination: Path) -> bool:
        """Copy or link a package's file to `destination`; False if it isn't cached intact."""

    def incoming(self) -> AbstractContextManager[Path]:
        """A folder to download `SHA256.deb` files to; complete ones enter the cache at the end."""

    def collect(self, hashes: Collection[str], sets: Collection[PackageSet], days: int) -> int:
        """Remove sets unused for `days` days, except those of `hashes`, and files of no set.

        The files of `sets` are kept.

        Returns:
            Bytes freed.
        """


class RootTrees(Protocol):
    """Root file systems as directories."""

    def unpack(self, tarball: Path, destination: Path, *, log: Path) -> None:
        """Unpack a tarball, replacing `destination`."""

    def remove(self, root: Path) -> None:
        """Delete a tree, if it exists."""

    def anonymise(self, root: Path, secrets: Sequence[str]) -> None:
        """Remove credentials and everything else that must differ between machines."""

    def secrets(self, root: Path, paths: Sequence[str]) -> list[str]:
        """Describe each secret in the tree in a sentence with the file's path.

        `paths` are those of secrets that have no form that could be recognised.
        """

    def packages(self, root: Path) -> dict[tuple[str, str], str]:
        """The installed packages: `{(name, architecture): version}`."""

    def debian(self, root: Path) -> str:
        """Debian's point release."""

    def free_bytes(self, folder: Path) -> int:
        """Free space on a folder's file system."""


class Containers(Protocol):
    """Boots root file systems without a virtual machine."""

    def booted(
        self, root: Path, *, name: str, detail: Detail, log: Path, network: bool = False
    ) -> AbstractContextManager[Target]:
        """A booted container with SSH login as `vagrant`; shut down cleanly at the end.

        With `network` it reaches what the host reaches, but not the host's own loopback.
        """


class DiskImages(Protocol):
    """Turns root file systems into disks."""

    def assemble(self, root: Path, destination: Path, *, size_gib: int, log: Path) -> None:
        """Write a raw disk image whose only file system holds the tree."""

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
        """Install a boot loader and write the disk as a compressed qcow2."""


class BoxWriter(Protocol):
    """Packs boxes and registers them on the host."""

    def pack(
        self, image: Path, release: str, destination: Path, packages: PackageSet | None
    ) -> Box:
        """Write a Vagrant box with a disk image: a candidate, neither verified nor registered."""

    def register(self, box: Box, facts: Mapping[str, Any]) -> Box:
        """Register a verified candidate. Its metadata is written last."""


@dataclass(frozen=True, kw_only=True)
class BuildServices:
    """The ports that building a box uses in addition to `Services`. Built by `devvm.wiring`."""

    declarations: RoleDeclarations
    archive: PackageArchive
    cache: PackageCache
    repositories: FlatRepositories
    roots: RootFilesystems
    trees: RootTrees
    containers: Containers
    images: DiskImages
    writer: BoxWriter
