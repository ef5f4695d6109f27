"""The working tree: roles, playbooks and `packages.lock` of the checkout that devvm runs from."""

from __future__ import annotations

from dataclasses import dataclass

from devvm.domain import package_set
from devvm.domain.errors import UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release import identity
from devvm.system import assets


@dataclass(frozen=True, kw_only=True)
class WorkingTree:
    """The stack in the working tree.

    Attributes:
        content: Its content hash.
        packages: The packages in `packages.lock`; None if there is none.
    """

    content: str
    packages: PackageSet | None = None

    @property
    def hash(self) -> str | None:
        """The hash of its release; None if there is no `packages.lock`."""
        return identity.release_hash(self.content, self.packages) if self.packages else None


def look() -> WorkingTree:
    """The stack in the working tree now, read from its files.

    Raises:
        UsageError: its `packages.lock` can't be read.
    """
    return WorkingTree(content=content(), packages=lock())


def content() -> str:
    """The content hash of its stack."""
    return identity.content_hash((assets.roles(), assets.playbooks()))


def lock() -> PackageSet | None:
    """The packages in its `packages.lock`; None if there is none.

    Raises:
        UsageError: it can't be read; names file and line.
    """
    path = assets.package_lock()
    try:
        return package_set.parse(path.read_bytes().decode(), str(path))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as error:
        reason = error.strerror or str(error)
    raise UsageError(f"{path}: {reason}", resolution="fix the file, or: devvm release lock")
