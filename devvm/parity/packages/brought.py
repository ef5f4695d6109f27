"""What moved packages have brought, according to dpkg on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any


class Brought:
    """What moved packages have brought, according to dpkg on the machine.

    Args:
        packages: By package: the answer of the probe `moved`; empty if the package is gone.
    """

    def __init__(self, packages: Mapping[str, Mapping[str, Any]]) -> None:
        self.packages = packages

    def _index(self, key: str) -> dict[str, str]:
        return {path: name for name, told in self.packages.items() for path in told.get(key, ())}

    @cached_property
    def paths(self) -> dict[str, str]:
        """The package of each path."""
        return self._index("paths")

    @cached_property
    def unchanged(self) -> dict[str, str]:
        """The package of each file that is as packaged."""
        return self._index("unchanged")

    @cached_property
    def obsolete(self) -> dict[str, str]:
        """The package of each unchanged file that the package no longer has."""
        return self._index("obsolete")

    @cached_property
    def enabled(self) -> dict[str, str]:
        """The package of each unit that its scripts enabled."""
        return self._index("enabled")

    @cached_property
    def groups(self) -> dict[str, str]:
        """The package of each group that a sysusers.d file creates."""
        return self._index("groups")

    @cached_property
    def users(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """For each user that a sysusers.d file creates: the package, and the user's facts."""
        return {
            user: (name, facts)
            for name, told in self.packages.items()
            for user, facts in told.get("users", {}).items()
        }

    def owner_of(self, paths: Iterable[str]) -> str | None:
        """A package of these files; None unless all are as moved packages brought them."""
        names = [self.unchanged.get(path) for path in paths]
        return names[0] if names and all(names) else None

    def dropped(self, path: str, package: str | None) -> bool:
        """Whether a package moved and no moved package has this path any more."""
        return package in self.packages and path not in self.paths
