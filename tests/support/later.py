"""Runs a program and its children at another time, with Debian's libfaketime."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

_SITE = Path(__file__).parent / "under_faketime"


def environment(ahead: timedelta) -> dict[str, str]:
    """The environment variables that set a program's clock ahead; it keeps running from there."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{ahead.total_seconds():+.0f}",
        "FAKE_UTIME": "1",  # file times, both ways
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # durations stay real
        "PYTHONPATH": str(_SITE),
    }
