"""How far behind a release is."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.release.stack import Release


def behind(release: str, on_record: Sequence[Release]) -> int | None:
    """How many releases are newer that machines are to be brought to; 0: it is the latest.

    Releases with the same content are the same, whenever their boxes were built.

    Args:
        release: It.
        on_record: All that are on record, the newest first; those that are retired don't count.

    Returns:
        None where the release is not on record.
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
