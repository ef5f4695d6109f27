"""Debian's order of versions (Debian Policy, 5.6.12).

Our own, and not python-debian's, which raises on what is no version: a guest may say anything.
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"(\D*)(\d*)")
_LONG = 1000  # digits


def is_older(one: str, other: str) -> bool:
    """Whether a version comes before another one."""
    return _key(one) < _key(other)


def _key(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return int(epoch[:_LONG]), _parts(upstream), _parts(revision)


def _parts(text: str) -> list[tuple[list[int], int]]:
    """Letters and numbers in turn; `~` comes before the end, the end before letters, these first.

    Each run of letters ends with the end's own weight, so that lists compare as Debian does.
    """
    return [
        ([*map(_weight, letters), 0], int(digits[:_LONG] or 0))
        for letters, digits in _PARTS.findall(text)
    ]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 256
