"""The time zone that this host's clock is shown in, with its rules for summer time."""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_FILE = Path("/etc/localtime")


def local_zone(file: Path = _FILE) -> tzinfo:
    """The host's zone, whatever `TZ` a person has set; UTC, as for the C library, without one."""
    try:
        with file.open("rb") as rules:
            return ZoneInfo.from_file(rules, key=file.resolve().name)
    except (OSError, ValueError):
        return UTC
