"""Runs a program, and everything it starts, at another time, with Debian's libfaketime."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

_SITE = Path(__file__).parent / "under_faketime"


def environment(ahead: timedelta) -> dict[str, str]:
    """What a program's environment has to say for its clock to be ahead; it goes on from there."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{ahead.total_seconds():+.0f}",
        "FAKE_UTIME": "1",  # the times of files, both ways
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # how long is as long as ever
        "PYTHONPATH": str(_SITE),
    }
