"""How far behind a release is."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.release.stack import Release


def behind(release: str, on_record: Sequence[Release]) -> int | None:
    """How many newer releases machines can be updated to; 0 for the latest.

    Releases with the same hash are the same, whenever their boxes were built.

    Args:
        release: The release's name.
        on_record: All recorded releases, newest first. Retired ones don't count as newer.

    Returns:
        The number, or None if the release isn't recorded.
    """
    newer = 0
    for each in on_record:
        if _content(each.release) == _content(release):
            return newer
        newer += each.retired_at is None
    return None


def _content(release: str) -> str:
    """The hash in a release's name."""
    return release.rpartition("-")[2]
