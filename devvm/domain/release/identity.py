"""Names a stack by its content.

A release is `DATE-HASH`: the hash over everything that ends up in a box, packages included, and,
for people, the day on which its box was built. Two releases are the same when their hashes are.

The stack has a hash of its own, its *content*; one content becomes another release whenever its box
gets other packages. (Boxes of an older devvm are named by their content alone.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from devvm.domain.errors import UsageError
from devvm.domain.package_set import PackageSet

#: Raised when the box pipeline itself changes what is in a box, with the same roles.
BOX_FORMAT = 1

_LEFT_BY_TOOLS = re.compile(r"__pycache__|\.git|\..*_cache")
_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")


def content_hash(folders: Sequence[Path]) -> str:
    """The stack's content hash: 12 hexadecimal digits over roles and playbooks.

    What does not get into a machine does not count. File modes count: Ansible copies them.

    Args:
        folders: The stack's `roles` and `playbooks`.
    """
    digest = hashlib.sha256(f"format {BOX_FORMAT}\n".encode())
    for root in folders:
        for path in files(root):
            name = f"{root.name}/{path.relative_to(root).as_posix()}"
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(f"{name}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def release_hash(content: str, packages: PackageSet) -> str:
    """The hash of a release: 12 hexadecimal digits over the stack's content and its packages."""
    return hashlib.sha256(f"{content}\n{packages.sha256}\n".encode()).hexdigest()[:12]


def new_release(release_hash: str, today: datetime | None = None) -> str:
    """The name that a release of this hash gets when its box is built today."""
    return f"{(today or datetime.now(UTC)):%Y.%m.%d}-{release_hash}"


def hash_of(release: str) -> str:
    """The part of a release's name that makes it this one."""
    return release.rpartition("-")[2]


def validate_release(release: str) -> str:
    """Return `release` if it has a release's form.

    Raises:
        UsageError: it has not.
    """
    if not _RELEASE.fullmatch(release):
        raise UsageError(
            f"{release!r} is not a release",
            details="a release is a date and a hash, such as 2026.11.23-1a2b3c4d5e6f",
            resolution="devvm box list",
        )
    return release


def same_release(a: str, b: str) -> bool:
    """Whether two names are of one release: stack and packages, whenever its boxes were built."""
    return hash_of(a) == hash_of(b)


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
