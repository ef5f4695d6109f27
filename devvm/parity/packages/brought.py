"""What packages that moved have brought, as the machine's dpkg says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any


class Brought:
    """What moved packages have brought, as the machine's dpkg says.

    Args:
        packages: By package: what the probe `moved` tells; of one that is gone,
            nothing.
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
        """The package of each file that is as it brought it."""
        return self._index("unchanged")

    @cached_property
    def obsolete(self) -> dict[str, str]:
        """The package of each file that it brings no more, and nobody has changed."""
        return self._index("obsolete")

    @cached_property
    def enabled(self) -> dict[str, str]:
        """The package of each unit that its scripts enabled."""
        return self._index("enabled")

    @cached_property
    def groups(self) -> dict[str, str]:
        """The package of each group that a sysusers.d file asks for."""
        return self._index("groups")

    @cached_property
    def users(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The package of each user that a sysusers.d file asks for, and the facts it gets."""
        return {
            user: (name, facts)
            for name, told in self.packages.items()
            for user, facts in told.get("users", {}).items()
        }

    def owner_of(self, paths: Iterable[str]) -> str | None:
        """The package of files all of which are as moved packages brought them."""
        names = [self.unchanged.get(path) for path in paths]
        return names[0] if names and all(names) else None

    def dropped(self, path: str, package: str | None) -> bool:
        """Whether a package that brought a path moved, and no moved one brings it any more."""
        return package in self.packages and path not in self.paths
