"""The picture of a rollout, for every size of fleet and terminal; and its plain lines."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from devvm.cli.rollout import sentences
from devvm.cli.rollout.text import Lines, Picture
from devvm.domain.rollout import plan
from devvm.domain.rollout.plan import Plan, Terms
from devvm.domain.rollout.state import Event, Ledger

START = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
RELEASE = "2026.11.30-aaaaaaaaaaaa"
QUIET = "2026-11-30T14:00:00+00:00"


class Made:
    """A rollout with events set by the test, one second apart."""

    def __init__(self, vms, shares=("10%", "50%", "100%")):
        names = [f"dev{number:03d}" for number in range(1, vms + 1)]
        made = Plan(id="r3", by="ann", terms=Terms(release=RELEASE, waves=shares),
                    waves=plan.waves(names, 1, shares))  # fmt: skip
        self.ledger, self.at = Ledger(made, START.isoformat()), START

    def tell(self, what, vm=None, **facts):
        self.at += timedelta(seconds=1)
        at = self.at.isoformat()
        self.ledger.add(Event(at=at, by="ann", what=what, vm=vm, facts=facts))
        return self

    def each(self, first, last, what, **facts):
        for number in range(first, last + 1):
            self.tell(what, f"dev{number:03d}", **facts)
        return self

    @property
    def record(self):
        return self.ledger.record


def busy(vms, parallel):
    """A rollout in its last wave, with everything that can occur."""
    made = Made(vms).tell("running").tell("wave", name="wave 3")
    made.each(1, vms // 4, "done", seconds=34.0, checks="2801 of 2801")
    made.each(vms // 4 + 1, vms // 3, "failed", log="/var/log/x",
              why=f"dev9 could not be brought to {RELEASE}: nginx.service does not start\nmore",
              failure="nginx.service does not start, " * 3)  # fmt: skip
    made.each(vms // 3 + 1, vms // 2, "left", why="pinned until 2026-12-04 by ann: demo")
    last = vms // 2 + parallel
    made.each(vms // 2 + 1, last, "updating", way="converge", reason="1 role changes")
    made.each(vms // 2 + 1, last, "phase", title="Applying nginx, site and everything else of it")
    made.each(last + 1, vms - 1, "asked", why="ann is active", deadline="2026-11-30T09:30:00+00:00")
    made.tell("phase", f"dev{vms:03d}", title="nobody is woken", quiet_until=QUIET)
    return made


def drawn(record, *, width=80, height=24, encoding="utf-8"):
    now = START + timedelta(minutes=30)
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding=encoding, errors="replace"), width=width, height=height,
        force_terminal=True, color_system=None, legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip
    console.print(Picture(lambda: record, now=lambda: now))
    console.file.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("height", [10, 16, 24, 35, 60])
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("vms", "parallel"), [(3, 1), (40, 4), (500, 64)])
def test_it_fits_whatever_the_fleet_and_the_terminal(vms, parallel, width, height):
    lines = drawn(busy(vms, parallel).record, width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(16, height - 1)
    assert len(lines) <= 35
    assert lines[0].startswith("r3: running, 30 min 00 s")


def test_a_small_one_is_shown_whole():
    made = Made(3).tell("running").tell("wave", name="canary")
    made.tell("updating", "dev001").tell("phase", "dev001", title="Applying nginx")
    text = "\n".join(drawn(made.record))
    assert f"r3: running, 30 min 00 s, to {RELEASE}" in text
    assert "  canary  [....................] 0 of 1  1 updating" in text
    assert "  dev001           29 min 57 s  Applying nginx" in text
    made.tell("done", "dev001", seconds=3.0).tell("wave", name="wave 2")
    assert "  canary  [####################] 1 of 1  1 done" in "\n".join(drawn(made.record))


def test_of_many_what_matters_is_named_and_the_rest_counted():
    text = "\n".join(drawn(busy(500, 64).record, height=35))
    assert "wave 3  [" in text
    assert "dev251" in text  # the one that takes longest
    assert "and 55 more in progress" in text
    assert "dev166           failed       nginx.service does not start" in text
    assert "more: devvm rollout status" in text
    assert "asked: dev315 (ann is active, until " in text
    assert "and 184 more" in text
    assert f"quiet hours: dev500 until {sentences.clock(QUIET)}" in text
    assert "nobody is woken" not in text  # it isn't being updated


def test_failures_come_before_those_that_are_left():
    made = Made(30).tell("running").tell("failed", "dev002", why="broken")
    made.each(3, 29, "left", why="pinned")
    text = "\n".join(drawn(made.record))
    assert text.index("dev002") < text.index("dev029")


def test_many_waves_are_a_window_around_the_one_at_work():
    made = Made(40, shares=("1",) * 30).tell("running").tell("wave", name="wave 15")
    lines = drawn(made.record, height=30)
    assert any(line.startswith("  wave 15") for line in lines)
    assert any("and 23 more waves" in line for line in lines)
    assert len(lines) < 14


def test_why_it_stops_is_said():
    made = Made(3).tell("running").tell("stopping", why="1 of the canary failed\nand more")
    made.tell("going back", "dev001").tell("phase", "dev001", title="Starting the VM")
    text = "\n".join(drawn(made.record, width=120))
    assert "r3: stopping" in text
    assert "1 of the canary failed" in text
    assert "Starting the VM" in text


def test_nothing_in_it_drives_the_terminal():
    made = Made(3).tell("running").tell("updating", "dev001")
    made.tell("phase", "dev001", title="\x1b[2J[bold]x\x07")
    made.tell("failed", "dev002", why="\x1b]0;title\x07[red]bad")
    text = "\n".join(drawn(made.record))
    assert "\x1b" not in text
    assert "[bold]x" in text
    assert "[red]bad" in text


def test_an_old_terminal_gets_it_too():
    assert drawn(busy(40, 4).record, encoding="ascii")


def test_before_anything_is_known():
    assert drawn(None) == ["Preparing the rollout"]


def told(*records, **more):
    said = []
    lines = Lines(said.append, **more)
    for record in records:
        lines.look(record)
    return said


def test_lines_tell_what_changed_since_the_last_look():
    made = Made(3).tell("running").tell("wave", name="canary")
    looks = [made.record]
    looks.append(made.tell("updating", "dev001", way="converge", reason="1 role changes").record)
    looks.append(made.tell("phase", "dev001", title="Applying nginx").record)
    looks.append(made.tell("done", "dev001", seconds=34.0, checks="5 of 5").record)
    looks.append(made.tell("wave", name="wave 2").tell("note", text="irc: no answer").record)
    looks.append(made.tell("failed", "dev002", why="nginx is off\nmore").record)
    looks.append(made.tell("asked", "dev003", why="ann is active", deadline="x").record)
    looks.append(made.tell("paused", why="no room").record)
    assert told(*looks, looks[-1]) == [
        "r3: canary",
        "r3: running",
        "dev001: updating, converge in place: 1 role changes",
        "dev001: done in 34 s, 5 of 5 checks pass",
        "irc: no answer",
        "r3: wave 2",
        "dev002: failed: nginx is off",
        "dev003: asked: ann is active",
        "r3: paused: no room",
    ]


def test_lines_are_silent_of_what_was_before():
    made = Made(3).tell("running").tell("done", "dev001").tell("note", text="old")
    before = made.record
    assert told(made.tell("done", "dev002").record, since=before) == ["dev002: done"]


def test_beside_a_picture_there_are_notes_only():
    made = Made(3).tell("running").tell("note", text="irc: no answer").tell("done", "dev001")
    assert told(made.record, notes_only=True) == ["irc: no answer"]


def test_no_note_is_told_twice_or_missed():
    made = Made(1).tell("running")
    said, lines = [], None
    lines = Lines(said.append, notes_only=True)
    for number in range(60):
        made.tell("note", text=f"note {number % 7} of {number}")
        if number % 3 == 0:
            lines.look(made.record)
    lines.look(made.record)
    assert said == [f"note {number % 7} of {number}" for number in range(60)]
