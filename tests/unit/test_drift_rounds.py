"""The container tier's rounds of drifts, on a folder instead of a machine: its files are checks.

Only a drift that is wrong may fail, as if each had been tried alone.
"""

import subprocess

import pytest

from tests.container.drifts import DRIFTS
from tests.container.drifts_form import Drift
from tests.container.rounds import Rounds, together


def drift(name, expected=None, *, apply=None, undo=None, **more):
    return Drift(name, apply or f"touch {name}", undo or f"rm {name}", expected or (name,), **more)


@pytest.fixture
def tried(tmp_path):
    """Try drifts; return which were wrong and how, and how many were tried together."""
    notes, machine = tmp_path / "notes", tmp_path / "machine"
    notes.mkdir()
    machine.mkdir()

    def run(script):
        done = subprocess.run(["sh", "-euc", script], cwd=machine, check=False)
        assert done.returncode == 0

    def look():
        return {file.name: "is there" for file in machine.iterdir()}

    def attempt(*drifts):
        rounds = Rounds(drifts, run, look, str(notes))
        wrong = {}
        for one in drifts:
            try:
                verdict = rounds.verdict(one)
            except AssertionError:
                wrong[one.name] = "a command failed"
            else:
                if verdict:
                    wrong[one.name] = (*sorted(verdict.unconcerned), *verdict.silent)
        attempt.left = sorted(look()) + sorted(file.name for file in notes.iterdir())
        return wrong, rounds.tried

    return attempt


def test_what_has_nothing_in_common_is_tried_together(tried):
    assert tried(drift("a"), drift("b"), drift("c")) == ({}, [3])
    assert tried.left == []


def test_one_that_no_check_tells_fails_and_no_other(tried):
    wrong, rounds = tried(drift("a"), drift("b", apply=":", undo=":"), drift("c"))
    assert wrong == {"b": ("b",)}
    assert rounds == [3, 1, 1, 1]


def test_one_that_more_checks_tell_fails_and_no_other(tried):
    more = drift("b", apply="touch b other", undo="rm b other")
    assert tried(drift("a"), more, drift("c"))[0] == {"b": ("other",)}


def test_a_command_that_fails_is_its_drifts_own_failure(tried):
    broken = drift("b", apply="touch b; false", undo="rm b")
    assert tried(drift("a"), broken, drift("c"))[0] == {"b": "a command failed"}
    assert tried.left == []


def test_what_was_not_begun_with_is_not_undone(tried):
    # If `b` comes first, `c` is never created, so undoing it would fail.
    tried(drift("b", apply="false", undo=":"), drift("c", undo="test -e c; rm c"))
    assert tried.left == []


def test_an_undoing_that_fails_does_not_keep_the_others_from_theirs(tried):
    wrong, _ = tried(drift("a"), drift("b", undo="rm b; false"), drift("c"))
    assert wrong == {"b": "a command failed"}
    assert tried.left == []


def test_what_is_left_behind_is_told(tried):
    wrong, _ = tried(drift("a", undo=":", alone=True), drift("b"))
    assert wrong == {"b": ("a",)}


def test_each_keeps_its_own(tried):
    apply, undo = "touch {0}; echo {0} >$kept", "grep -qx {0} $kept; rm {0} $kept"
    some = [drift(name, apply=apply.format(name), undo=undo.format(name)) for name in "abc"]
    assert tried(*some) == ({}, [3])
    assert tried.left == []


@pytest.mark.parametrize(
    "other",
    [
        drift("b", ("a",)),
        drift("b", ("*",)),
        drift("b", ("a/*",)),
        drift("b", alone=True),
        drift("b", apply="echo nginx >b"),
    ],
)
def test_what_one_check_could_tell_or_is_in_the_way_is_tried_apart(other):
    first = drift("a", ("a", "a/b"), undo="rm a; : nginx")
    assert sorted(map(len, together([first, other]))) == [1, 1]


def test_every_drift_has_its_place():
    rounds = together(DRIFTS)
    assert sorted(one.name for some in rounds for one in some) == sorted(d.name for d in DRIFTS)
    assert len({drift.name for drift in DRIFTS}) == len(DRIFTS)
    assert len(rounds) <= 30
    assert max(map(len, rounds)) <= 10
