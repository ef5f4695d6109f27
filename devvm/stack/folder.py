"""The folder of a stack: where its parts are, and which of its files make a release.

    stack.yml        what devvm has to know about it
    playbooks/       site.yml, the list of roles; others that it imports
    roles/           the roles
    group_vars/      values of variables: all, development, production, other groups
    collections/     vendored collections: ansible_collections/NAMESPACE/NAME
    checks/          what must work on a machine
    production/      what production is: manifest.yml, overlay/, roles.yml, waivers.yml
    packages.lock    the exact packages, written by `devvm release lock`

Only `playbooks/site.yml` and `roles` are required.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devvm.domain import package_set
from devvm.domain.errors import UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release import identity

if TYPE_CHECKING:
    from devvm.stack.description import Description

DESCRIPTION = "stack.yml"
CHECKS = "checks"
#: Folders whose files are in a release's name and kept with its record. Production is kept too, but
#: it has a hash of its own: it is captured again while releases stay the same.
PARTS = ("roles", "playbooks", "group_vars", "collections", CHECKS)

_SITE = "playbooks/site.yml"


@dataclass(frozen=True, kw_only=True)
class WorkingTree:
    """What is in a stack's folder at one moment.

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


@dataclass(frozen=True)
class StackFolder:
    """A stack's folder.

    Args:
        root: The folder.
        overlay: The folder of devvm's own roles and playbooks, which go on top of any stack. None
            for the copy in a release's record, which has them among its own.
        fixed: Whether it must not be written to, because it is part of an installed package.
    """

    root: Path
    overlay: Path | None = None
    fixed: bool = False

    @property
    def roles(self) -> tuple[Path, ...]:
        """The folders of roles, but for those in collections."""
        return tuple(root / "roles" for root in self._roots)

    @property
    def declaring_roles(self) -> tuple[Path, ...]:
        """The folders of roles, with those in collections."""
        found = sorted(self.collections.glob("ansible_collections/*/*/roles"))
        return (*self.roles, *found)

    @property
    def group_vars(self) -> Path:
        """The folder of variables; it may not exist."""
        return self.root / "group_vars"

    @property
    def collections(self) -> Path:
        """The folder of collections; it may not exist."""
        return self.root / "collections"

    @property
    def checks(self) -> Path:
        """The folder of checks; it may not exist."""
        return self.root / CHECKS

    @property
    def production(self) -> Path:
        """The folder that describes production; it may not exist."""
        return self.root / "production"

    @property
    def package_lock(self) -> Path:
        """The path of `packages.lock`, which may not exist."""
        return self.root / package_set.FILE

    def playbook(self, name: str) -> Path:
        """The path of a playbook, the stack's or devvm's own."""
        found = [path for root in self._roots if (path := root / "playbooks" / name).is_file()]
        return found[0] if found else self.root / "playbooks" / name

    def playbooks(self) -> dict[str, bytes]:
        """The content of the playbooks and of what is beside them, by path within `playbooks`."""
        prefix = "playbooks/"
        return {
            name.removeprefix(prefix): path.read_bytes()
            for name, path in self.files()
            if name.startswith(prefix)
        }

    def files(self) -> Iterator[tuple[str, Path]]:
        """The files that make a release: path within it, and path on this host; sorted."""
        found = {
            f"{part}/{path.relative_to(root / part).as_posix()}": path
            for root in self._roots
            for part in PARTS
            for path in identity.files(root / part)
        }
        if (self.root / DESCRIPTION).is_file():
            found[DESCRIPTION] = self.root / DESCRIPTION
        yield from sorted(found.items())

    def content(self) -> str:
        """The content hash."""
        return identity.content_hash(self.files())

    def description(self) -> Description:
        """What `stack.yml` says.

        Raises:
            UsageError: it is invalid; names file and key.
        """
        from devvm.stack import description  # and YAML, which most commands don't read

        return description.load(self.root / DESCRIPTION)

    def packages(self) -> PackageSet | None:
        """The packages in `packages.lock`; None if there is none.

        Raises:
            UsageError: it can't be read; names file and line.
        """
        path = self.package_lock
        try:
            return package_set.parse(path.read_bytes().decode(), str(path))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
        except OSError as error:
            reason = error.strerror or str(error)
        raise UsageError(f"{path}: {reason}", resolution="fix the file, or: devvm release lock")

    def look(self) -> WorkingTree:
        """What is in the folder now.

        Raises:
            UsageError: its `packages.lock` can't be read.
        """
        return WorkingTree(content=self.content(), packages=self.packages())

    @property
    def _roots(self) -> tuple[Path, ...]:
        return (self.root,) if self.overlay is None else (self.root, self.overlay)


def demand(folder: Path, overlay: Path) -> Path:
    """The folder, which must be a stack's.

    Raises:
        UsageError: it isn't, or has a role or playbook with the name of one of devvm's.
    """
    if not folder.is_dir():
        reason = "it is not a folder" if folder.exists() else "it doesn't exist"
    elif not (folder / _SITE).is_file():
        reason = f"it has no {_SITE}, the list of roles"
    else:
        _refuse_names_of(overlay, folder)
        return folder
    raise UsageError(f"{folder} is not the folder of a stack", details=reason,
                     resolution="docs/stacks.md says what is in one")  # fmt: skip


def _refuse_names_of(overlay: Path, folder: Path) -> None:
    for path in sorted([*overlay.glob("roles/*"), *overlay.glob("playbooks/*")]):
        inside = path.relative_to(overlay)
        if (folder / inside).exists():
            raise UsageError(
                f"{folder / inside} has the name of one of devvm's own",
                details="devvm's roles and playbooks go on top of any stack",
                resolution=f"rename {folder / inside}",
            )


def around(start: Path) -> Path | None:
    """The innermost stack's folder that `start` is in, with a `stack.yml`; None if there is none.

    Other programs have files of that name, too.
    """
    folders = (start, *start.parents)
    return next((p for p in folders if all((p / f).is_file() for f in (DESCRIPTION, _SITE))), None)


def refuse_strangers(folder: Path) -> None:
    """Make sure that a stack's folder, which nobody named, belongs to this user or to root.

    Its roles run as root, and anybody can put a `stack.yml` into /tmp.

    Raises:
        UsageError: it belongs to somebody else.
    """
    own = {0, os.geteuid(), int(os.environ.get("SUDO_UID", "0"))}
    if (folder / DESCRIPTION).stat().st_uid not in own or folder.stat().st_uid not in own:
        raise UsageError(
            f"the stack in {folder}, which you are in, belongs to somebody else",
            details="its roles run as root, so devvm uses it only if you name it",
            resolution=f"devvm --stack {folder} ..., or change to another folder",
        )
