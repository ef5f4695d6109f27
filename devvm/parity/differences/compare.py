"""How a machine differs from what is expected, item by item."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from devvm.parity.production.manifest import PRESENT, Areas, Facts, Manifest

_CONTENT = "content"
_HASH = "sha256"
#: Areas in which a person's name can be the name of an item.
_OF_PEOPLE = ("user", "group", "sudo")
_LONG = 100


class Kind(StrEnum):
    """How an item differs."""

    DIFFERS = "differs"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An item that isn't as expected.

    Args:
        kind: How it differs.
        expected: The facts that differ, as expected; all facts of a missing item.
        found: The same facts, as found; all facts of an extra item.
        diff: For a text: a unified diff from what was expected to what was found.
    """

    kind: Kind
    expected: Mapping[str, Any] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)
    diff: str | None = None

    def words(self) -> str:
        """The difference in one line."""
        match self.kind:
            case Kind.MISSING:
                return f"missing; expected {_facts(self.expected)}"
            case Kind.EXTRA:
                return f"not in production; found {_facts(self.found)}"
        parts = [
            self._unpackaged()
            if name == "package"
            else f"{name}: expected {_short(self.expected.get(name))}, "
            f"found {_short(self.found.get(name))}"
            for name in sorted({*self.expected, *self.found})
            if name not in (_CONTENT, _HASH) or not self.diff
        ]
        if self.diff:
            parts.append(f"content: {_changed_lines(self.diff)}")
        return "; ".join(parts)

    def _unpackaged(self) -> str:
        expected, found = self.expected.get("package"), self.found.get("package")
        was = f"expected as packaged by {expected}" if expected else "expected otherwise"
        return f"{was}, found {f'as packaged by {found}' if found else 'changed'}"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The names that are specific to a machine, and their tokens in a manifest.

    Args:
        host: The machine's full name; `{host}` in a manifest.
        engineer: The login of the VM's engineer; `{engineer}` in a manifest.
    """

    host: str = ""
    engineer: str = ""

    def areas(self, areas: Areas) -> Areas:
        """Areas with the engineer's own items renamed to `{engineer}`."""
        if not self.engineer:
            return areas
        return {
            area: {
                "{engineer}" if area in _OF_PEOPLE and item == self.engineer else item: facts
                for item, facts in items.items()
            }
            for area, items in areas.items()
        }

    def value(self, value: object) -> object:
        """A value with the machine's own names replaced by tokens."""
        pairs = ((self.host, "{host}"), (self.engineer, "{engineer}"))
        for word, token in pairs:
            if word:
                value = _replace(value, word, token)
        return value

    def same(self, expected: object, found: object) -> bool:
        """Whether two values are equal once the machine's own names are replaced by tokens."""
        return bool(
            expected == found
            or (self.host and expected == _replace(found, self.host, "{host}"))
            or expected == self.value(found)
        )


def compare(
    expected: Facts | None, found: Facts | None, tokens: Tokens, varies: tuple[str, ...] = ()
) -> Difference | None:
    """How an item differs; None if it doesn't.

    Args:
        expected: Its facts; None if it should not exist.
        found: Its facts; None if it doesn't exist.
        tokens: The machine's own names.
        varies: Facts to ignore.
    """
    if expected is None or found is None:
        if expected is found or PRESENT in varies:
            return None
        if found is None:
            return Difference(kind=Kind.MISSING, expected=_telling(expected or {}))
        return Difference(kind=Kind.EXTRA, found=_telling(found))
    if expected.get("package") and expected.get("package") == found.get("package"):
        varies = (*varies, _CONTENT, _HASH)  # both as packaged: the package's version covers it
    texts = expected.get(_CONTENT), found.get(_CONTENT)
    have_texts = all(isinstance(text, str) for text in texts)
    differing = [
        name
        for name in sorted({*expected, *found} - set(varies))
        if not equal(name, expected, found, tokens) and not (name == _HASH and have_texts)
    ]
    if expected.get("package") and _CONTENT not in expected:
        differing = [name for name in differing if name not in (_CONTENT, _HASH)]
    # If both texts are known and equal, their package doesn't matter.
    if have_texts and _CONTENT not in differing and _CONTENT not in varies:
        differing = [name for name in differing if name not in ("package", _HASH)]
    if not differing:
        return None
    diff = None
    if _CONTENT in differing and have_texts:
        diff = _unified(str(texts[0]), str(tokens.value(texts[1])))
    return Difference(
        kind=Kind.DIFFERS,
        expected={name: expected[name] for name in differing if name in expected},
        found={name: found[name] for name in differing if name in found},
        diff=diff,
    )


def extras(expected: Manifest, found: Areas, tokens: Tokens) -> dict[tuple[str, str], Difference]:
    """Items that exist but are not expected, in areas that the manifest covers."""
    surplus = {}
    for area, items in tokens.areas(found).items():
        if area in expected.areas:
            known = expected.areas[area]
            for item, facts in items.items():
                if item not in known:
                    difference = compare(None, facts, tokens, expected.varying(area, item))
                    if difference:
                        surplus[area, item] = difference
    return surplus


def equal(name: str, expected: Facts, found: Facts, tokens: Tokens) -> bool:
    """Whether a fact is the same on both sides, or unknown on one of them."""
    if name in expected and name in found and None in (expected[name], found[name]):
        return True  # unknown on one side
    if name == "secret" and None in (expected.get(name), found.get(name)):
        return True
    return tokens.same(expected.get(name), found.get(name))


def _telling(facts: Facts) -> Facts:
    """The facts worth showing: known ones, without whole texts."""
    return {k: v for k, v in facts.items() if v is not None and k not in (_CONTENT, "secret")}


def _replace(value: object, word: str, token: str) -> object:
    if isinstance(value, str):
        return value.replace(word, token) if word in value else value
    if isinstance(value, list):
        return [_replace(one, word, token) for one in value]
    if isinstance(value, dict):
        return {key: _replace(one, word, token) for key, one in value.items()}
    return value


def _unified(expected: str, found: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=2
    )
    text = "\n".join(lines)
    return text or "the end of the last line differs"


def _changed_lines(diff: str) -> str:
    lines = diff.splitlines()[2:]
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    return f"{added} lines more, {removed} fewer than expected" if lines else diff


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in facts.items()) or "it"


def _short(value: object) -> str:
    if value in (None, "", []):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {one}" for key, one in value.items())
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
