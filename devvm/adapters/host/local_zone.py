"""The host's time zone, with its rules for daylight saving time."""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_FILE = Path("/etc/localtime")


def local_zone(file: Path = _FILE) -> tzinfo:
    """The host's time zone, regardless of `TZ`; UTC if it has none, as in the C library."""
    try:
        with file.open("rb") as rules:
            return ZoneInfo.from_file(rules, key=file.resolve().name)
    except (OSError, ValueError):
        return UTC
