"""The layering of volumes, and which domains need them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from devvm.domain.disk import Volume

Users = Mapping[Path, set[str]]  # names of domains, by the file of a disk


def chain(path: Path, below: Mapping[Path, Path | None]) -> list[Path]:
    """A file and the layers below it, from the top down."""
    found: list[Path] = []
    current: Path | None = path
    while current is not None and current not in found:
        found.append(current)
        current = below.get(current)
    return found


def needed(volumes: Iterable[Volume], users: Users) -> set[Path]:
    """The files that domains use, directly or as a layer below their disks."""
    below = {volume.path: volume.below for volume in volumes}
    return {layer for path in users for layer in chain(path, below)}


def users_of(name: str, volumes: Iterable[Volume], users: Users) -> list[str]:
    """Names of the domains that use a volume, directly or through a layer on it."""
    known = list(volumes)
    below = {volume.path: volume.below for volume in known}
    own = {volume.path for volume in known if volume.name == name}
    return sorted(
        {who for path, names in users.items() if own & set(chain(path, below)) for who in names}
    )


def top_down(volumes: Iterable[Volume]) -> list[Volume]:
    """Sort volumes so that each layer comes before the one below it."""
    known = list(volumes)
    below = {volume.path: volume.below for volume in known}
    return sorted(known, key=lambda v: len(chain(v.path, below)), reverse=True)
