"""Attributes differences to packages that moved, as far as that can be proven.

A package has *moved* if it is exactly as in the machine's release, but not as in production: Debian
publishes a new version while nobody changes the stack. A package that somebody installed, removed,
held or changed on the machine has not moved.

A difference is attributed to a moved package only if everything about it is: that the item exists,
its content, its rights. The proof is dpkg's own record on the machine and what the servers report
about themselves; docs/parity.md has the whole table. What isn't proven is a difference, and fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from devvm.domain.check import MovedPackage
from devvm.parity.differences.compare import Difference, Kind, Tokens, compare, equal
from devvm.parity.packages import attribution_rules as rules
from devvm.parity.packages.attribution_rules import Case
from devvm.parity.packages.brought import Brought
from devvm.parity.production.manifest import Areas, Facts, Layers, Manifest

_PACKAGE = "package"
#: The facts of a package that may differ even though nobody changed it.
_MOVES = frozenset({"version", "origin"})

_Rule = Callable[[Case], str | None]
_RULES: Mapping[str, _Rule] = {
    "cron": rules.cron,
    "file": rules.file,
    "group": rules.group,
    "limit": rules.said_by_files,
    "module": rules.said_by_files,
    "python": rules.python,
    "setting": rules.setting,
    "socket": rules.socket,
    "sysctl": rules.sysctl,
    "system": rules.system,
    "unit": rules.unit,
    "user": rules.user,
}


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Which differences of a machine its moved packages explain.

    Args:
        expected: What the machine should be.
        found: What it is.
        tokens: Its own names.
        release: The versions of packages in its release. If empty (unknown), nothing is explained.
        evidence: What the observation has besides facts.
    """

    expected: Manifest
    found: Areas
    tokens: Tokens
    release: Mapping[str, str]
    evidence: Mapping[str, Any]
    _known: dict[tuple[str, str], str | None] = field(default_factory=dict, repr=False)

    @cached_property
    def moved(self) -> dict[str, MovedPackage]:
        """The packages that moved, by name."""
        return find_moved(self.expected, self.found, self.tokens, self.release)

    @cached_property
    def brought(self) -> Brought:
        """What they have brought."""
        told = self.evidence.get("packages", {})
        gone: dict[str, Mapping[str, Any]] = {
            name: {} for name, one in self.moved.items() if one.found is None
        }
        return Brought(gone | {name: told[name] for name in self.moved if name in told})

    def label_of(self, area: str, item: str) -> str | None:
        """The package that explains an item's difference, with its version; None if none does."""
        name = self.package_of(area, item)
        return self.moved[name].label if name else None

    def package_of(self, area: str, item: str) -> str | None:
        """The name of the package that explains an item's difference; None if none does."""
        if area == _PACKAGE:
            return item if item in self.moved else None
        if not self.moved or area not in _RULES:
            return None
        if (area, item) not in self._known:
            self._known[area, item] = None  # during the search, so that nothing explains itself
            self._known[area, item] = self._look(area, item)
        return self._known[area, item]

    def is_as_expected(self, area: str, item: str) -> bool:
        """Whether an item exists as it should, without any difference."""
        expected = self.expected.areas.get(area, {}).get(item)
        found = self.found.get(area, {}).get(item)
        return None not in (expected, found) and not self._differing(area, item, expected, found)

    def _look(self, area: str, item: str) -> str | None:
        expected = self.expected.areas.get(area, {}).get(item)
        found = self.found.get(area, {}).get(item)
        differing = self._differing(area, item, expected, found)
        if expected is found or (None not in (expected, found) and not differing):
            return None
        case = Case(
            area=area, item=item, expected=expected, found=found, differing=differing, context=self
        )  # fmt: skip
        name = _RULES[area](case)
        return name if name in self.moved else None

    def _differing(
        self, area: str, item: str, expected: Facts | None, found: Facts | None
    ) -> frozenset[str]:
        one, other = expected or {}, found or {}
        names = {*one, *other} - {*self.expected.varying(area, item)}
        return frozenset(n for n in names if not equal(n, one, other, self.tokens))


def find_moved(
    expected: Manifest, found: Areas, tokens: Tokens, release: Mapping[str, str]
) -> dict[str, MovedPackage]:
    """The packages of a machine that moved, by name.

    Args:
        expected: What the machine should be.
        found: What it is.
        tokens: The machine's own names.
        release: The versions of packages in its release; empty if unknown.
    """
    here, there = found.get(_PACKAGE), expected.areas.get(_PACKAGE)
    if not release or here is None or there is None:  # unknown, not seen, or not in the manifest
        return {}
    moved = {}
    for name in sorted({*here, *there}):
        wanted, seen = there.get(name), here.get(name)
        difference = compare(wanted, seen, tokens, expected.varying(_PACKAGE, name))
        if difference is not None and _as_in_release(difference, release.get(name)):
            versions = [facts and facts.get("version") for facts in (wanted, seen)]
            production, version = (str(one) if one else None for one in versions)
            moved[name] = MovedPackage(name=name, production=production, found=version)
    return moved


def _as_in_release(difference: Difference, version: str | None) -> bool:
    if difference.kind is Kind.MISSING:
        return version is None
    here, otherwise = difference.found.get("version"), {*difference.found}
    if difference.kind is Kind.DIFFERS:
        otherwise |= {*difference.expected}
    return otherwise <= _MOVES and here is not None and here == version


def candidates(layers: Layers, release: Mapping[str, str]) -> list[str]:
    """Packages of a release that differ from production; the probe `moved` needs their names."""
    versions: dict[str, set[object]] = {}
    for name, facts in layers.items_of(_PACKAGE):
        versions.setdefault(name, set()).add(facts.get("version"))
    return sorted(name for name, version in release.items() if versions.get(name) != {version})
