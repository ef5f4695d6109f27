"""What changed between two manifests, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from devvm.parity.differences.text import (
    CONTENT,
    HASH,
    fact_change,
    facts_in_a_line,
    is_text,
    unified,
)
from devvm.parity.production.manifest import PRESENT, Facts, Manifest, check_name


class Kind(StrEnum):
    """How something changed."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Change:
    """An item that differs between two manifests.

    Args:
        area: Its area.
        item: Its name.
        kind: How it changed.
        old: The old facts that differ, or all. None if a layer says that the item doesn't exist, or
            the manifest doesn't have it.
        new: The same for the new manifest.
        diff: For texts: a unified diff.
    """

    area: str
    item: str
    kind: Kind
    old: Facts | None = None
    new: Facts | None = None
    diff: str | None = None

    @property
    def check(self) -> str:
        """The name of the item's check."""
        return check_name(self.area, self.item)

    def words(self) -> str:
        """The change in one line, without the item's name."""
        if self.kind is not Kind.CHANGED:
            facts = self.new if self.kind is Kind.ADDED else self.old
            return f"{self.kind}: {'not there' if facts is None else facts_in_a_line(facts)}"
        if self.old is None or self.new is None:
            was, now = (
                "not there" if facts is None else facts_in_a_line(facts)
                for facts in (self.old, self.new)
            )
            return f"changed: {was} -> {now}"
        parts = []
        for name in sorted({*self.old, *self.new}):
            if is_text(self.old.get(name)) or is_text(self.new.get(name)):
                parts.append(f"{name} differs")
            elif name != HASH or CONTENT not in {*self.old, *self.new}:
                parts.append(f"{name}: {fact_change(name, self.old, self.new)}")
        return f"changed: {'; '.join(parts)}"


@dataclass(frozen=True, kw_only=True)
class Variation:
    """An item for which the set of varying facts changed."""

    area: str
    item: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def check(self) -> str:
        """The name of the item's check."""
        return check_name(self.area, self.item)

    def words(self) -> str:
        """The change in one line, without the item's name."""
        parts = []
        if self.added:
            parts.append(f"varies now: {', '.join(self.added)}")
        if self.removed:
            parts.append(f"no longer varies: {', '.join(self.removed)}")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How two manifests differ. The day and the hosts of the capture are ignored."""

    changes: tuple[Change, ...] = ()
    variations: tuple[Variation, ...] = ()
    #: Areas that only one of them has.
    areas: Mapping[str, Kind] = field(default_factory=dict)
    #: The old and new `only_if` and `unless`, if they changed.
    conditions: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changes or self.variations or self.areas or self.conditions)


def between(old: Manifest, new: Manifest) -> Differences:
    """How two manifests differ, sorted by area and item."""
    conditions = {}
    for name in ("only_if", "unless"):
        was, now = (tuple(sorted(getattr(one, name))) for one in (old, new))
        if was != now:
            conditions[name] = (was, now)
    areas = {
        area: Kind.ADDED if area in new.areas else Kind.REMOVED
        for area in sorted(set(old.areas) ^ set(new.areas))
    }
    return Differences(
        changes=tuple(_changes(old, new)),
        variations=tuple(_variations(old, new)),
        areas=areas,
        conditions=conditions,
    )


def _changes(old: Manifest, new: Manifest) -> Iterator[Change]:
    for area in sorted({*old.areas, *new.areas}):
        were, are = old.areas.get(area, {}), new.areas.get(area, {})
        for item in sorted({*were, *are}):
            was, now = were.get(item), are.get(item)
            moved = _moved(old, new, area, item)
            if PRESENT in moved and not (item in were and item in are):
                continue
            if item not in were:
                yield Change(area=area, item=item, kind=Kind.ADDED, new=now)
            elif item not in are:
                yield Change(area=area, item=item, kind=Kind.REMOVED, old=was)
            elif was is None or now is None:
                if was is not now:
                    yield Change(area=area, item=item, kind=Kind.CHANGED, old=was, new=now)
            else:
                alone = moved & (set(was) ^ set(now))
                every = sorted({*was, *now} - alone)
                names = [name for name in every if not _same(name, was, now)]
                if names:
                    yield _changed(area, item, names, was, now)


def _moved(old: Manifest, new: Manifest, area: str, item: str) -> set[str]:
    """Facts that vary in only one manifest. That one naturally has no value for them."""
    were, are = (set(one.varies.get(area, {}).get(item, ())) for one in (old, new))
    return were ^ are


def _changed(area: str, item: str, names: Sequence[str], was: Facts, now: Facts) -> Change:
    texts = []
    for name in names:
        before, after = was.get(name), now.get(name)
        if is_text(before) or is_text(after):
            label = check_name(area, item) + ("" if name == CONTENT else f" {name}")
            texts.append(unified(_as_text(before), _as_text(after), f"a/{label}", f"b/{label}"))
    return Change(
        area=area,
        item=item,
        kind=Kind.CHANGED,
        old={name: was[name] for name in names if name in was},
        new={name: now[name] for name in names if name in now},
        diff="\n".join(texts) or None,
    )


def _variations(old: Manifest, new: Manifest) -> Iterator[Variation]:
    for area in sorted({*old.varies, *new.varies}):
        were, are = old.varies.get(area, {}), new.varies.get(area, {})
        for item in sorted({*were, *are}):
            was, now = set(were.get(item, ())), set(are.get(item, ()))
            if was != now:
                added, removed = tuple(sorted(now - was)), tuple(sorted(was - now))
                yield Variation(area=area, item=item, added=added, removed=removed)


def _same(name: str, was: Facts, now: Facts) -> bool:
    """Whether a fact is the same in both, also by type: `1` is not `true`."""
    if (name in was) is not (name in now):
        return False
    return type(was.get(name)) is type(now.get(name)) and was.get(name) == now.get(name)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
