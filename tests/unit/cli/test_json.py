"""Results printed unchanged: their attributes are exactly the documented keys."""

import json
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

import pytest

from devvm import wiring
from devvm.cli import serializers
from devvm.cli.host.config import Setting
from devvm.cli.output import Output
from devvm.domain.check import CheckResult
from devvm.domain.disk import Disk
from devvm.domain.release.strategy import Strategy
from devvm.domain.rollout.state import Event
from devvm.domain.run import PhaseRecord, RunRecord
from devvm.operations.box.lock import Change
from devvm.operations.doctor.doctor import Busy
from devvm.operations.fleet.report import HostLine
from devvm.operations.guest.unsaved_work import Checkout, Risk
from devvm.operations.host import setup
from devvm.operations.verify.fleet import OfCheck, OfRelease
from tests.unit.cli.documented import DOCUMENT, documented, documented_for


@pytest.mark.parametrize(
    ("section", "result"),
    [
        ("Check", CheckResult),
        ("Disk", Disk),
        ("Event", Event),
        ("Fleet host", HostLine),
        ("Risk", Risk),
        ("Run", RunRecord),
        ("Setting", Setting),
        ("Way", Strategy),
    ],
)
def test_attributes_are_the_keys_of_a_section(section, result):
    assert {field.name for field in fields(result)} == documented(section)


@pytest.mark.parametrize(
    ("row", "result"),
    [
        ("by_check", OfCheck),
        ("by_release", OfRelease),
        ("checkouts", Checkout),
        ("doctor", Busy),
        ("phases", PhaseRecord),
        ("release lock", Change),
    ],
)
def test_attributes_are_keys_that_a_row_lists(row, result):
    (line,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| `{row}` |"))
    assert {field.name for field in fields(result)} <= set(re.findall(r"`(\w+)`", line))


class Word(StrEnum):
    ONE = "one"


@dataclass(frozen=True)
class Inner:
    path: Path


@dataclass(frozen=True)
class Outer:
    word: Word
    inner: tuple[Inner, ...]
    by_word: dict[Word, Inner]
    nothing: None = None


RESULT = Outer(Word.ONE, (Inner(Path("/a")), Inner(Path("é"))), {Word.ONE: Inner(Path("c"))})


def test_a_result_with_others_in_it(capsys):
    Output(json=True).result({"result": RESULT}, lambda: None)
    printed = capsys.readouterr().out
    assert "é" in printed
    assert json.loads(printed) == {
        "result": {
            "word": "one",
            "inner": [{"path": "/a"}, {"path": "é"}],
            "by_word": {"one": {"path": "c"}},
            "nothing": None,
        }
    }


def test_an_event_is_one_line(capsys):
    Output(json=True).event(RESULT)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_what_is_no_result_is_not_printed():
    with pytest.raises(TypeError, match="not JSON serializable"):
        Output(json=True).result({"result": object()}, lambda: None)


def test_other_documented_keys(cli, monkeypatch):
    assert set(cli("version", "--json").json) == documented_for("version")
    shown = cli("config", "show", "--json").json
    assert set(shown) == documented_for("config show")
    assert set(shown["settings"][0]) == documented("Setting")
    monkeypatch.setattr(wiring, "setup_steps", lambda config: [])
    data = cli("setup", "--json").json
    assert set(data) == documented("Host")
    status = setup.StepStatus(key="a", title="A", optional=False, needed=())
    step = serializers.host(setup.HostStatus(steps=(status,)))["steps"][0]
    assert set(step) == {"key", "title", "optional", "done", "needed"}
