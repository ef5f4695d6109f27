"""Small formatters: sizes, durations, ages, and text from tools made safe for a terminal."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from datetime import date as day

_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """`text` without escape sequences and control characters (newlines and tabs stay).

    Tools' output and file names end up in messages, and must not control the terminal.
    """
    return _CONTROL.sub("", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")))


def command(text: str) -> str:
    """What to type next, without `sudo` where devvm runs as root, and not through sudo."""
    is_root = os.geteuid() == 0 and "SUDO_USER" not in os.environ
    return text.replace("sudo devvm ", "devvm ") if is_root else text


def duration(seconds: float) -> str:
    """A duration for people: `0.4 s`, `34 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def age(since: str, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was, in its largest unit; empty if it can't be parsed."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def today() -> day:
    """Today's date by this host's clock and time zone."""
    return datetime.now().astimezone().date()


def date(when: str | None) -> str:
    """An ISO 8601 time to the minute, in UTC: `2026-12-09 02:00 UTC`; `-` if it can't be parsed."""
    try:
        then = datetime.fromisoformat(when or "")
    except ValueError:
        return "-"
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def memory(mib: int) -> str:
    """Memory for people: `2 GiB`, `1536 MiB`."""
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def size(count: int) -> str:
    """A size in bytes for people: `512 MiB`, `1.4 GiB`."""
    gib = count / 1024**3
    return f"{gib:.1f} GiB" if gib >= 1 else f"{count / 1024**2:.0f} MiB"


def gib(mib: int) -> str:
    """An amount of memory in GiB: `31.2 GiB`."""
    return f"{mib / 1024:.1f} GiB"


def behind(releases: int | None) -> str:
    """How many releases behind: `latest`, `3`; `-` if the VM's release is not on record."""
    return "-" if releases is None else str(releases or "latest")


def parity(failed: int, at: str, *, passed: bool, ahead: int = 0) -> str:
    """The result of a check and its age: `ok, 2 h ago`, `3 differ, 4 ahead, 2 d ago`."""
    differ = f"{failed} differ{'s' if failed == 1 else ''}" if failed else "no checks"
    told = f", {ahead} ahead" if ahead else ""
    return f"{'ok' if passed else differ}{told}, {age(at)} ago"


def plural(count: int, noun: str) -> str:
    """`1 check`, `2 checks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
