"""Names a stack by its content.

A release is `DATE-HASH`: the hash over everything that ends up in a box, and, for people, the day
on which its box was built. Two releases are the same when their hashes are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from devvm import assets
from devvm.errors import UsageError

#: Raised when the box pipeline itself changes what is in a box, with the same roles.
BOX_FORMAT = 1

_LEFT_BY_TOOLS = re.compile(r"__pycache__|\.git|\..*_cache")
_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")


def content_hash(folders: Sequence[Path] = ()) -> str:
    """The stack's content hash: 12 hexadecimal digits over roles, playbooks and the package lock.

    What does not get into a machine does not count. File modes count: Ansible copies them.

    Args:
        folders: The stack's `roles` and `playbooks`; by default those of the stack in hand.
    """
    digest = hashlib.sha256(f"format {BOX_FORMAT}\n".encode())
    for root in folders or (assets.roles(), assets.playbooks()):
        for path in files(root):
            name = f"{root.name}/{path.relative_to(root).as_posix()}"
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(f"{name}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def new_release(today: datetime | None = None) -> str:
    """The name that a box of the present stack gets when it is built today."""
    return f"{(today or datetime.now(UTC)):%Y.%m.%d}-{content_hash()}"


def validate_release(release: str) -> str:
    """Return `release` if it has a release's form.

    Raises:
        UsageError: it has not.
    """
    if not _RELEASE.fullmatch(release):
        raise UsageError(
            f"{release!r} is not a release",
            details="a release is a date and a content hash, such as 2026.11.23-1a2b3c4d5e6f",
            resolution="devvm box list",
        )
    return release


def same_content(a: str, b: str) -> bool:
    """Whether two releases hold the same stack, whenever their boxes were built."""
    return a.rpartition("-")[2] == b.rpartition("-")[2]


def files(root: Path) -> Iterator[Path]:
    """The files in a folder of a stack that count, sorted: what takes part, and is no leftover.

    Documentation and hidden files count where a role brings them to machines.

    Args:
        root: `roles` or `playbooks`.
    """
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(p.startswith(".") or p in {"__pycache__", "molecule"} for p in parts)
        takes_part = not hidden and path.suffix not in {".md", ".pyc"}
        if path.is_file() and (takes_part or _is_brought(parts)):
            yield path


def _is_brought(parts: Sequence[str]) -> bool:
    """Whether a role brings a file to machines as it is, by its path from the roles' folder."""
    return (
        len(parts) > 2
        and parts[1] in {"files", "templates"}
        and not parts[-1].endswith(".pyc")
        and not any(_LEFT_BY_TOOLS.fullmatch(part) for part in parts)
    )
