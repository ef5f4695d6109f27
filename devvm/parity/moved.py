"""Packages that are as in a release, and not as in production: in words.

Light: the commands' own modules use it.
"""

from __future__ import annotations

from collections.abc import Sequence

from devvm.model import MovedPackage
from devvm.parity.debian import is_older

#: Characters of packages' names in a line, which then fits a terminal of 80.
_ROOM = 27


def is_newer(package: MovedPackage) -> bool:
    """Whether a package is here in a newer version than in production."""
    versions = package.production, package.found
    return None not in versions and is_older(str(versions[0]), str(versions[1]))


def in_a_line(moved: Sequence[MovedPackage]) -> str:
    """`4 packages are newer than in production: libpam-modules, …`; empty where none moved."""
    if not moved:
        return ""
    count = "1 package is" if len(moved) == 1 else f"{len(moved)} packages are"
    how = "newer" if all(is_newer(one) for one in moved) else "other"
    return f"{count} {how} than in production: {_names([one.name for one in moved])}"


def _names(names: Sequence[str]) -> str:
    shown = 1
    while shown < len(names) and len(", ".join(names[: shown + 1])) <= _ROOM:
        shown += 1
    left = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {left} more" if left else "")
