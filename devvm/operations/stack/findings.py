"""What `devvm stack check` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is missing or wrong.

    Attributes:
        file: Where it is, relative to the stack's folder.
        text: What it is.
        next: What to do about it.
        needed: Whether devvm can't use the stack until it is done.
    """

    file: str
    text: str
    next: str
    needed: bool = True
