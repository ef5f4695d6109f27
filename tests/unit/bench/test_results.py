"""Medians, spreads and phases of what was measured, and the file that keeps it."""

import pytest

from bench import contenders, results
from bench.results import Results, Sample, sample_of
from tests.unit.bench.recorded import CHECKED, create, printed, whole_run


def three(*seconds):
    found = Results()
    for one in seconds:
        found.add("verify", Sample(seconds=one))
    return found


def test_the_median_and_the_ends():
    spread = three(9.0, 30.0, 10.0).spread("verify")
    assert (spread.median, spread.low, spread.high, spread.count) == (10.0, 9.0, 30.0, 3)
    assert three(8.0, 10.0).spread("verify").median == 9.0
    assert Results().spread("verify") is None


def test_a_sample_has_wall_clock_phases_and_failed_checks():
    failing = {**CHECKED, "checks_passed": 2798, "passed": False}
    sample = sample_of(create(report=failing), 50.1234)
    assert sample.seconds == 50.123
    assert sample.phases["boot"] == 35.0
    assert list(sample.phases) == ["check", "network", "disks", "boot", "personalise", "verify"]
    assert sample.facts == {"failed_checks": 2.0}


def test_without_a_wall_clock_the_commands_own_time_counts():
    assert sample_of(printed("stop", [("stop", 6.0)], report=None)).seconds == 6.2


def test_a_phase_that_comes_twice_is_summed():
    assert sample_of(printed("rebuild", [("boot", 20.0), ("boot", 2.5)])).phases == {"boot": 22.5}


def test_a_phase_that_a_run_did_not_have_took_no_time_in_it():
    found = Results()
    for phases in ({"boot": 3.0}, {"boot": 4.0, "wait": 9.0}, {"boot": 5.0}):
        found.add("start", Sample(seconds=5.0, phases=phases))
    assert found.phases("start") == {"boot": 4.0, "wait": 0.0}
    assert found.median("start", "boot") == 4.0
    assert found.median("start", "nothing") is None


def test_the_floor_is_the_first_yardstick_and_boots_stand_in_for_it():
    found = whole_run()
    assert [(one.key, one.phase, one.seconds) for one in found.yardsticks()] == [
        ("floor", None, 60.0), ("start", "boot", 30.0), ("create-cold", "boot", 35.0)
    ]  # fmt: skip
    del found.samples[contenders.FLOOR]
    assert found.yardsticks()[0].title == "the boot of start"
    assert Results().yardsticks() == []


def test_what_is_written_is_read(tmp_path):
    found = whole_run()
    found.write(tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'format'"),
        ('{"format": 2, "samples": {}}', "another version"),
        ('{"format": 1, "samples": {"a": [{}]}}', "seconds"),
        ('{"format": 1, "samples": {}, "more": 1}', "more"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, why):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(results.ResultsError) as raised:
        results.read(path)
    said = str(raised.value)
    assert str(path) in said
    assert why in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("command", "phases", "key"),
    [
        ("create", ["disks", "boot"], "create-cold"),
        ("create", ["disks", "restore"], "create-warm"),
        ("create", ["restore", "boot"], "create-cold"),
        ("create", ["disks", "take"], "create-spare"),
        ("create", ["take", "disks", "restore"], "create-warm"),
        ("create", ["take", "disks", "boot"], "create-cold"),
        ("rebuild", ["stop", "restore"], "rebuild-warm"),
        ("rebuild", ["stop", "boot"], "rebuild-cold"),
        ("start", ["network", "boot"], "start"),
    ],
)
def test_a_run_is_filed_by_how_its_vm_was_started(command, phases, key):
    assert contenders.started_as(command, phases) == key


def test_the_order_and_the_titles_of_a_report():
    keys = ["at-once-2", "list", "create-warm", "floor@other", "floor", "new-one"]
    assert sorted(keys, key=contenders.position) == [
        "floor", "floor@other", "create-warm", "list", "at-once-2", "new-one"
    ]  # fmt: skip
    titles = [contenders.contender(key).title for key in keys]
    assert titles[0] == "create, 2 at once"
    assert titles[3] == "floor: bare QEMU, the same disks (other checkout)"
    assert titles[5] == "new-one"
