"""Whose a difference is: what a package that moved brought with it, as far as it can be proven.

A difference is a moved package's only where everything about it is: the fact that it is there, its
content, its rights. What proves it is dpkg's own record on the machine and what the servers say of
themselves; docs/parity.md has the whole table. What is not proven is a difference, and fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from devvm.parity import attribution_rules as rules
from devvm.parity import moved
from devvm.parity.attribution_rules import Case
from devvm.parity.brought import Brought
from devvm.parity.compare import Tokens, equal
from devvm.parity.manifest import Areas, Facts, Manifest
from devvm.parity.moved import Moved

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
    """What moved packages explain of one machine.

    Args:
        expected: What the machine should be.
        found: What it is.
        tokens: Its own words.
        release: The versions of packages in its release; empty where they are not known: then
            nothing is explained.
        evidence: What `parity.observe` brought beside the facts.
    """

    expected: Manifest
    found: Areas
    tokens: Tokens
    release: Mapping[str, str]
    evidence: Mapping[str, Any]
    _known: dict[tuple[str, str], str | None] = field(default_factory=dict, repr=False)

    @cached_property
    def moved(self) -> dict[str, Moved]:
        """The packages that moved, by name."""
        return moved.find(self.expected, self.found, self.tokens, self.release)

    @cached_property
    def brought(self) -> Brought:
        """What they have brought."""
        told = self.evidence.get("packages", {})
        gone: dict[str, Mapping[str, Any]] = {
            name: {} for name, one in self.moved.items() if one.found is None
        }
        return Brought(gone | {name: told[name] for name in self.moved if name in told})

    def label_of(self, area: str, item: str) -> str | None:
        """The package that explains the difference of an item, with its version; else None."""
        name = self.package_of(area, item)
        return self.moved[name].label if name else None

    def package_of(self, area: str, item: str) -> str | None:
        """The name of the package that explains the difference of an item; None: none does."""
        if area == moved.AREA:
            return item if item in self.moved else None
        if not self.moved or area not in _RULES:
            return None
        if (area, item) not in self._known:
            self._known[area, item] = None  # while it is looked for: nothing explains itself
            self._known[area, item] = self._look(area, item)
        return self._known[area, item]

    def is_as_expected(self, area: str, item: str) -> bool:
        """Whether an item is there that should be, and nothing of it is otherwise."""
        expected = self.expected.areas.get(area, {}).get(item)
        found = self.found.get(area, {}).get(item)
        return None not in (expected, found) and not self._differing(area, item, expected, found)

    def _look(self, area: str, item: str) -> str | None:
        expected = self.expected.areas.get(area, {}).get(item)
        found = self.found.get(area, {}).get(item)
        differing = self._differing(area, item, expected, found)
        if not differing:
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
