"""How far behind a release is."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.release.stack import Release, same_stack


def behind(release: str, on_record: Sequence[Release]) -> int | None:
    """How many newer releases machines can be updated to; 0 for the latest.

    Releases with the same hash are the same, whenever their boxes were built.

    Args:
        release: The release's name.
        on_record: All recorded releases, newest first. Neither retired ones count as newer, nor
            those of other stacks.

    Returns:
        The number, or None if the release isn't recorded.
    """
    own = next((one for one in on_record if _content(one.release) == _content(release)), None)
    if own is None:
        return None
    newer = on_record[: on_record.index(own)]
    return sum(one.retired_at is None and same_stack(one.stack, own.stack) for one in newer)


def _content(release: str) -> str:
    """The hash in a release's name."""
    return release.rpartition("-")[2]
