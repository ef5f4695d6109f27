from datetime import UTC, datetime

import pytest

from devvm.cli import formatting


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\rb\x08\x00c", "abc"),
        ("line\r\nline\ttab", "line\nline\ttab"),
        ("ünïcode ✓", "ünïcode ✓"),
        ("c1 \x9b31m", "c1 31m"),
    ],
)
def test_safe_leaves_nothing_that_drives_a_terminal(raw, expected):
    assert formatting.safe(raw) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (34.2, "34 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"),
     (3725, "1 h 02 min")],
)  # fmt: skip
def test_duration(seconds, expected):
    assert formatting.duration(seconds) == expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-11-23T11:59:30+00:00", "30 s"),
        ("2026-11-23T11:00:00+00:00", "1 h"),
        ("2026-11-23T11:00:00", "1 h"),
        ("2026-11-20T11:00:00+00:00", "3 d"),
        ("2026-11-24T00:00:00+00:00", "0 s"),  # the clock was put back
        ("yesterday", ""),
    ],
)
def test_age(since, expected):
    assert formatting.age(since, datetime(2026, 11, 23, 12, tzinfo=UTC)) == expected


def test_sizes_and_plurals():
    assert formatting.memory(2048) == "2 GiB"
    assert formatting.memory(1536) == "1536 MiB"
    assert formatting.size(512 * 1024**2) == "512 MiB"
    assert formatting.size(1536 * 1024**2) == "1.5 GiB"
    assert formatting.plural(1, "check") == "1 check"
    assert formatting.plural(2, "check") == "2 checks"
