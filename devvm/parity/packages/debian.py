"""Debian's version order (Debian Policy, 5.6.12).

Not python-debian's, because that raises on invalid versions, and a guest may report anything.
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"(\D*)(\d*)")
_LONG = 1000  # digits


def is_older(one: str, other: str) -> bool:
    """Whether `one` is an older version than `other`."""
    return _key(one) < _key(other)


def _key(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return int(epoch[:_LONG]), _parts(upstream), _parts(revision)


def _parts(text: str) -> list[tuple[list[int], int]]:
    """Split into runs of letters and numbers; sorts `~` < end < letters < other characters.

    Each run of letters ends with the weight of the end, so that lists compare in Debian's order.
    """
    return [
        ([*map(_weight, letters), 0], int(digits[:_LONG] or 0))
        for letters, digits in _PARTS.findall(text)
    ]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 256
