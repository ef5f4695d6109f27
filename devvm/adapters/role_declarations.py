"""What roles declare in their `vars/main.yml`: packages, state paths and secrets.

The role itself uses the same lists that devvm reads here, so the two can't drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Self

import yaml

from devvm.domain.errors import OperationError
from devvm.domain.release import role_yaml
from devvm.stack.folder import StackFolder

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DIRECTORY = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._@-]+)+")
_SECRET = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._@*-]+)+")


class RoleDeclarations:
    """Implements `RoleDeclarations` for the roles in some folders.

    All of them count, also those applied later: their packages must be in the box, because a VM may
    have no access to a mirror.

    Args:
        roles: The folders.
        without: The names of roles that don't count, called when declarations are read.
    """

    def __init__(self, *roles: Path, without: Callable[[], Collection[str]] = tuple) -> None:
        self._roles = roles
        self._without = without

    @classmethod
    def of(cls, stack: StackFolder) -> Self:
        """Those of a stack, with the roles of devvm's that its features bring."""
        return cls(*stack.declaring_roles, without=lambda: stack.description().roles_off)

    def packages(self) -> tuple[str, ...]:
        """The Debian packages that the roles need, sorted, each once.

        Raises:
            OperationError: a role's declaration is not a list of package names.
        """
        found: set[str] = set()
        for path, names in self._declared("packages"):
            for name in names:
                if not isinstance(name, str) or not _PACKAGE.fullmatch(name):
                    raise _bad(path, f"{name!r} is not a package name")
                found.add(name)
        return tuple(sorted(found))

    def state_paths(self) -> tuple[str, ...]:
        """The roles' state paths, sorted.

        Raises:
            OperationError: a path is not absolute, or lies inside another one.
        """
        found = {PurePosixPath(path) for path in self._paths("state_paths", _DIRECTORY)}
        for inner in found:
            # Seeding and bind-mounting the outer one would include the inner one.
            outer = found.intersection(inner.parents)
            if outer:
                raise OperationError(
                    f"the state path {inner} lies inside {outer.pop()}",
                    details="two roles declare them; each must be a directory of its own",
                    resolution="keep the outer one in roles/*/vars/main.yml, remove the inner one",
                )
        return tuple(sorted(str(p) for p in found))

    def secret_paths(self) -> tuple[str, ...]:
        """Files that each machine makes for itself, sorted; `*` stands for a part of a name.

        Raises:
            OperationError: a path is not absolute.
        """
        return tuple(sorted(self._paths("secret_paths", _SECRET)))

    def _paths(self, what: str, form: re.Pattern[str]) -> set[str]:
        """The paths in a list of mappings with the key `path`."""
        found = set()
        for file, items in self._declared(what):
            for item in items:
                text = item.get("path") if isinstance(item, dict) else None
                if not isinstance(text, str) or not form.fullmatch(text):
                    raise _bad(file, f"{item!r} has no absolute `path`")
                found.add(text)
        return found

    def _declared(self, what: str) -> Iterator[tuple[Path, list[Any]]]:
        without = self._without()
        for path in sorted(p for folder in self._roles for p in folder.glob("*/vars/main.yml")):
            if path.parent.parent.name in without:
                continue
            try:
                variables = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise _bad(path, str(error)) from None
            name = f"{role_yaml.prefix(path.parent.parent.name)}_{what}"
            value = variables.get(name, []) if isinstance(variables, dict) else None
            if not isinstance(value, list):
                raise _bad(path, f"{name} is not a list")
            yield path, value


def _bad(path: Path, reason: str) -> OperationError:
    return OperationError(
        f"{path} can't be read as a role's declaration",
        details=reason,
        resolution=f"fix {path}: its lists are plain literals, without templates",
    )
