"""Turns what was found on hosts into a manifest: what they share, and what varies."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devvm.parity.differences.compare import Tokens, compare
from devvm.parity.production.manifest import PRESENT, Areas, Facts, Manifest

_SECRET = "secret"  # noqa: S105 (the name of a fact)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the collectors found on one host."""

    host: str
    areas: Areas
    tokens: Tokens
    conditions: Mapping[str, bool] = field(default_factory=dict)

    def own_words_replaced(self) -> Areas:
        """The areas with tokens in place of the host's own names, as in a manifest."""
        return {
            area: {item: _general(facts, self.tokens) for item, facts in items.items()}
            for area, items in self.tokens.areas(self.areas).items()
        }


def seal(areas: Areas, key: bytes) -> Areas:
    """Areas with each hash of a secret replaced by a keyed hash.

    Equality can still be proven with the key; without it, nobody can guess at the secret.
    """

    def sealed(facts: Facts) -> Facts:
        value = facts.get(_SECRET)
        if not isinstance(value, str):
            return facts
        mac = hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
        return {**facts, _SECRET: mac[:32]}

    return {
        area: {item: sealed(facts) for item, facts in items.items()}
        for area, items in areas.items()
    }


def unsealed(areas: Areas) -> Areas:
    """Areas that only say whether there are secrets."""
    return {
        area: {
            item: {**facts, _SECRET: None} if _SECRET in facts else facts
            for item, facts in items.items()
        }
        for area, items in areas.items()
    }


def merge(hosts: list[Seen], *, day: datetime.date, previous: Manifest | None = None) -> Manifest:
    """The manifest of what all hosts share.

    Args:
        hosts: At least one. Hashes of secrets must be sealed with the same key.
        day: The day of the capture.
        previous: The manifest to replace. What varies there varies here too, since these may be
            other hosts, or fewer.
    """
    every = {seen.host: seen.own_words_replaced() for seen in hosts}
    areas: dict[str, dict[str, Facts | None]] = {}
    varies: dict[str, dict[str, list[str]]] = {
        area: {item: list(facts) for item, facts in items.items()}
        for area, items in (previous.varies if previous else {}).items()
    }
    for area in sorted({area for seen in every.values() for area in seen}):
        areas[area] = {}
        for item in sorted({item for seen in every.values() for item in seen.get(area, {})}):
            found = [seen[area][item] for seen in every.values() if item in seen.get(area, {})]
            differing = _differing(found)
            if len(found) < len(every):
                differing.append(PRESENT)
            if differing:
                known = varies.setdefault(area, {}).setdefault(item, [])
                known += [name for name in differing if name not in known]
            apart = {*varies.get(area, {}).get(item, ()), *_known(previous, area, item)}
            if PRESENT not in apart:
                areas[area][item] = {k: v for k, v in found[0].items() if k not in apart}
    return Manifest(
        captured=day,
        hosts=tuple(every),
        only_if=previous.only_if if previous else (),
        unless=previous.unless if previous else (),
        varies=varies,
        areas=areas,
    )


def without_secrets(manifest: Manifest) -> Manifest:
    """The manifest without hashes of secrets; it only says where there are some."""
    areas = {
        area: {
            item: {**facts, _SECRET: None} if facts and _SECRET in facts else facts
            for item, facts in items.items()
        }
        for area, items in manifest.areas.items()
    }
    return manifest.model_copy(update={"areas": areas})


def without_packaged_contents(manifest: Manifest) -> Manifest:
    """The manifest without the contents of files that are as packaged."""
    areas = {
        area: {
            item: {k: v for k, v in facts.items() if k != "content"}
            if facts and facts.get("package")
            else facts
            for item, facts in items.items()
        }
        for area, items in manifest.areas.items()
    }
    return manifest.model_copy(update={"areas": areas})


def over(base: Manifest, manifest: Manifest) -> Manifest:
    """The manifest as a layer: only what it adds to `base` or has otherwise."""
    nothing = Tokens()
    areas: dict[str, dict[str, Facts | None]] = {}
    for area in sorted({*base.areas, *manifest.areas}):
        below, here = base.areas.get(area, {}), manifest.areas.get(area, {})
        changed: dict[str, Facts | None] = {
            item: here.get(item)
            for item in sorted({*below, *here})
            if compare(
                below.get(item),
                here.get(item),
                nothing,
                (*base.varying(area, item), *manifest.varying(area, item)),
            )
        }
        if changed:
            areas[area] = changed
    return manifest.model_copy(update={"areas": areas})


def _known(previous: Manifest | None, area: str, item: str) -> tuple[str, ...]:
    return previous.varying(area, item) if previous else ()


def _differing(found: list[Facts]) -> list[str]:
    """The facts that aren't equal in all of them. A text and its hash go together."""
    names = {name for facts in found for name in facts}
    differing = sorted(
        name
        for name in names
        if any(facts.get(name) != found[0].get(name) for facts in found)
        and not any(facts.get(name, ...) is None for facts in found)
    )
    if "content" in differing or "sha256" in differing:
        differing = sorted({*differing, *({"content", "sha256", "package"} & names)})
    return differing


def _general(facts: Facts, tokens: Tokens) -> Facts:
    general: dict[str, Any] = {name: tokens.value(value) for name, value in facts.items()}
    content = general.get("content")
    if content != facts.get("content") and isinstance(content, str) and "sha256" in general:
        general["sha256"] = hashlib.sha256(content.encode()).hexdigest()
    return general


def summary(manifest: Manifest) -> Mapping[str, int]:
    """The number of items, by area."""
    return {area: len(items) for area, items in sorted(manifest.areas.items())}
