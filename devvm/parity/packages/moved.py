"""Packages that are as in a release, but not as in production: in words.

Has few imports, because the commands' modules import it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from devvm.domain.check import MovedPackage
from devvm.parity.packages.debian import is_older

#: The maximal width of a line; names of packages fill what is left.
_WIDTH = 80
#: The least width for the names, ` and 10 more` included.
_LEAST = 27


def is_newer(package: MovedPackage) -> bool:
    """Whether a package is newer here than in production."""
    return _how(package) == "newer"


def in_a_line(moved: Sequence[MovedPackage]) -> str:
    """`4 packages are newer than in production: libpam-modules, …`; empty if none moved.

    If some are not newer: `4 packages are not as in production (3 newer, 1 added): …`.
    """
    if not moved:
        return ""
    are = "1 package is" if len(moved) == 1 else f"{len(moved)} packages are"
    counts = Counter(_how(one) for one in moved)
    if counts.keys() == {"newer"}:
        begins = f"{are} newer than in production: "
    else:
        kinds = ", ".join(f"{counts[how]} {how}" for how in _HOW if counts[how])
        begins = f"{are} not as in production ({kinds}): "
    return begins + _names([one.name for one in moved], max(_LEAST, _WIDTH - len(begins)))


_HOW = ("newer", "added", "older", "removed")


def _how(package: MovedPackage) -> str:
    if package.production is None:
        return "added"
    if package.found is None:
        return "removed"
    return "newer" if is_older(package.production, package.found) else "older"


def _names(names: Sequence[str], room: int) -> str:
    shown = len(names)
    while shown > 1 and len(_list(names, shown)) > room:
        shown -= 1
    return _list(names, shown)


def _list(names: Sequence[str], shown: int) -> str:
    left = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {left} more" if left else "")
