"""Packages that moved: as the machine's release has them, and not as production does.

Debian's archives bring a new version while nobody changes the stack. Only a package exactly as in
the release has moved; what somebody installed, took out, held or changed in the machine has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from devvm.model import CheckResult, Outcome
from devvm.parity.compare import Difference, Kind, Tokens, compare
from devvm.parity.debian import is_older
from devvm.parity.manifest import Areas, Layers, Manifest

AREA = "package"
#: What may be otherwise of a package that nobody changed.
_MOVES = frozenset({"version", "origin"})
#: Characters of packages' names in a line.
_ROOM = 50


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A package that moved.

    Attributes:
        name: Its name.
        production: Production's version; None: it is not there.
        found: The version here; None: it is not here.
    """

    name: str
    production: str | None
    found: str | None

    @property
    def is_newer(self) -> bool:
        """Whether it is here in a newer version than in production."""
        return bool(self.production and self.found and is_older(self.production, self.found))

    @property
    def label(self) -> str:
        """It with its version, for people: `nginx-common 1.22.1-9+deb12u4`."""
        return f"{self.name} {self.found}" if self.found else self.name

    @property
    def change(self) -> str:
        """From which version to which: `1.5.2-6+deb12u2 -> 1.5.2-6+deb12u3`."""
        return f"{self.production or 'not there'} -> {self.found or 'not there'}"


def find(
    expected: Manifest, found: Areas, tokens: Tokens, release: Mapping[str, str]
) -> dict[str, Moved]:
    """The packages of a machine that moved, by name.

    Args:
        expected: What the machine should be.
        found: What it is.
        tokens: The machine's own words.
        release: The versions of packages in its release; empty where they are not known.
    """
    if not release:
        return {}
    here, there = found.get(AREA, {}), expected.areas.get(AREA, {})
    moved = {}
    for name in sorted({*here, *there}):
        wanted, seen = there.get(name), here.get(name)
        difference = compare(wanted, seen, tokens, expected.varying(AREA, name))
        if difference is not None and _as_in_release(difference, release.get(name)):
            versions = [facts and facts.get("version") for facts in (wanted, seen)]
            production, version = (str(one) if one else None for one in versions)
            moved[name] = Moved(name=name, production=production, found=version)
    return moved


def _as_in_release(difference: Difference, version: str | None) -> bool:
    if difference.kind is Kind.MISSING:
        return version is None
    here, otherwise = difference.found.get("version"), {*difference.found}
    if difference.kind is Kind.DIFFERS:
        otherwise |= {*difference.expected}
    return otherwise <= _MOVES and here is not None and here == version


def candidates(layers: Layers, release: Mapping[str, str]) -> list[str]:
    """Packages of a release that production has otherwise: of these more has to be known."""
    versions: dict[str, set[object]] = {}
    for name, facts in layers.items_of(AREA):
        versions.setdefault(name, set()).add(facts.get("version"))
    return sorted(name for name, version in release.items() if versions.get(name) != {version})


def of_checks(checks: Iterable[CheckResult]) -> tuple[Moved, ...]:
    """The packages that moved, as the results of a verification tell them."""
    return tuple(
        Moved(
            name=check.name.partition("/")[2],
            production=(check.expected or {}).get("version"),
            found=(check.found or {}).get("version"),
        )
        for check in checks
        if check.outcome is Outcome.AHEAD and check.name.startswith(f"{AREA}/")
    )


def in_a_line(moved: Sequence[Moved]) -> str:
    """`4 packages are newer than in production: libpam-modules, …`; empty where none moved."""
    if not moved:
        return ""
    count = "1 package is" if len(moved) == 1 else f"{len(moved)} packages are"
    how = "newer" if all(one.is_newer for one in moved) else "other"
    return f"{count} {how} than in production: {_names([one.name for one in moved])}"


def _names(names: Sequence[str]) -> str:
    shown = 1
    while shown < len(names) and len(", ".join(names[: shown + 1])) <= _ROOM:
        shown += 1
    left = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {left} more" if left else "")
