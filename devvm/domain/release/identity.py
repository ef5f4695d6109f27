"""Names of releases.

A release is named `DATE-HASH`: the day its box was built, for people, and a hash over everything
that ends up in the box, packages included, and over what must work on it. Two releases are the same
if their hashes are.

The stack alone has a hash too, its *content*. One content becomes another release whenever its box
gets other packages. (Boxes built by an older devvm are named after their content alone.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from devvm.domain.errors import UsageError
from devvm.domain.package_set import PackageSet

#: Incremented when the box pipeline itself changes what ends up in a box, with the same roles.
BOX_FORMAT = 1

_LEFT_BY_TOOLS = re.compile(r"__pycache__|\.git|\..*_cache")
_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")


def content_hash(files: Iterable[tuple[str, Path]]) -> str:
    """The stack's content hash: 12 hexadecimal digits over the files that make a release.

    File modes count, because Ansible copies them.

    Args:
        files: Paths within the stack, such as `roles/nginx/tasks/main.yml`, and where the files
            are.
    """
    digest = hashlib.sha256(f"format {BOX_FORMAT}\n".encode())
    for name, path in files:
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{name}\0{executable}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def release_hash(content: str, packages: PackageSet) -> str:
    """A release's hash: 12 hexadecimal digits over the stack's content and its packages."""
    return hashlib.sha256(f"{content}\n{packages.sha256}\n".encode()).hexdigest()[:12]


def new_release(release_hash: str, today: datetime | None = None) -> str:
    """The name of a release whose box is built today."""
    return f"{(today or datetime.now(UTC)):%Y.%m.%d}-{release_hash}"


def hash_of(release: str) -> str:
    """The hash in a release's name."""
    return release.rpartition("-")[2]


def validate_release(release: str) -> str:
    """Return `release` if it is a valid release name.

    Raises:
        UsageError: it isn't.
    """
    if not _RELEASE.fullmatch(release):
        raise UsageError(
            f"{release!r} is not a release",
            details="a release is a date and a hash, such as 2026.11.23-1a2b3c4d5e6f",
            resolution="devvm box list",
        )
    return release


def same_release(a: str, b: str) -> bool:
    """Whether two names are of the same stack and packages, whenever the boxes were built."""
    return hash_of(a) == hash_of(b)


def files(root: Path) -> Iterator[Path]:
    """The files of a stack's part that count, sorted; leftovers are skipped.

    Documentation and hidden files count only where a role copies them to machines.

    Args:
        root: `roles`, `playbooks` ...
    """
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(p.startswith(".") or p in {"__pycache__", "molecule"} for p in parts)
        takes_part = not hidden and path.suffix not in {".md", ".pyc"}
        if path.is_file() and (takes_part or _is_brought(parts)):
            yield path


def _is_brought(parts: Sequence[str]) -> bool:
    """Whether a role copies this file to machines."""
    return (
        any(part in {"files", "templates"} for part in parts[1:-1])
        and not parts[-1].endswith(".pyc")
        and not any(_LEFT_BY_TOOLS.fullmatch(part) for part in parts)
    )
