"""Values of manifests in words, and diffs of texts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from devvm.parity.production.manifest import Facts

CONTENT = "content"
HASH = "sha256"
_HASH_DIGITS = 64
#: How many characters of a value, or values of a list, a line shows.
_LONG = 100
_MANY = 6


def is_text(value: object) -> bool:
    """Whether a value is a text of several lines, to be compared by a diff."""
    return isinstance(value, str) and "\n" in value


def unified(old: str, new: str, before: str, after: str) -> str:
    """A unified diff, as `diff` writes it."""
    return "\n".join(
        difflib.unified_diff(_lines(old), _lines(new), before, after, lineterm="", n=3)
    )


def _lines(text: str) -> list[str]:
    """The lines of a text, split at newlines only; a missing newline at the end is noted."""
    lines = text.split("\n")
    last = lines.pop()
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines


def in_a_line(value: object) -> str:
    """A value for people; cut if it is long."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case str() if is_text(value):
            count = value.count("\n") + (not value.endswith("\n"))
            return f"{count} line{'s'[: count != 1]}"
        case str() if len(value) == _HASH_DIGITS and not value.strip("0123456789abcdef"):
            return f"{value[:12]}…"
        case list():
            more = [f"… {len(value)} in all"] if len(value) > _MANY else []
            return ", ".join([*map(in_a_line, value[:_MANY]), *more]) or "none"
        case dict():
            return ", ".join(f"{key} = {in_a_line(one)}" for key, one in value.items()) or "none"
    text = str(value)
    if not text.strip():
        return repr(text)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def facts_in_a_line(facts: Mapping[str, Any]) -> str:
    """Facts for people. A hash is left out if its text is there."""
    shown = {
        name: value for name, value in sorted(facts.items()) if name != HASH or CONTENT not in facts
    }
    return ", ".join(f"{name}: {in_a_line(value)}" for name, value in shown.items()) or "there"


def list_change(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """What was added to a list and what was removed; duplicates count."""
    rest, more = list(old), []
    for entry in new:
        if entry in rest:
            rest.remove(entry)
        else:
            more.append(entry)
    return more, rest


def fact_change(name: str, old: Facts, new: Facts) -> str:
    """How a fact changed, old to new."""
    was, now = old.get(name), new.get(name)
    if isinstance(was, list) and isinstance(now, list):
        more, less = list_change(was, now)
        signed = [f"+{in_a_line(one)}" for one in more] + [f"-{in_a_line(one)}" for one in less]
        return ", ".join(signed) or f"reordered: {in_a_line(now)}"
    if isinstance(was, dict) and isinstance(now, dict):
        names = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
        return ", ".join(f"{key}: {fact_change(key, {**was}, {**now})}" for key in names)
    shown = [in_a_line(facts[name]) if name in facts else "nothing" for facts in (old, new)]
    if shown[0] == shown[1]:  # equal once cut, or differing only in type
        shown = [repr(was), repr(now)]
    return " -> ".join(shown)
