"""A ratio that grew by more than 25 % is named with its phase; how fast the machine is, is not."""

from dataclasses import replace

import pytest

import bench.__main__ as program
from bench import compare, contenders
from bench.results import Results, sample_of
from tests.unit.bench.recorded import create, printed, whole_run


def grown(old, new):
    yardstick, growths = compare.compare(old, new)
    return yardstick.title if yardstick else None, {one.key: one for one in growths}


@pytest.mark.parametrize("slower", [0.5, 1.0, 7.0])
def test_a_slower_machine_is_no_growth(slower):
    assert grown(whole_run(), whole_run(slower)) == ("the floor", {})


def test_a_slower_phase_is_named_where_it_is_met():
    title, found = grown(whole_run(), whole_run(slower=3.0, verify=16.0))
    assert title == "the floor"
    assert set(found) == {
        contenders.CREATE_COLD, contenders.CREATE_WARM, contenders.VERIFY,
        "at-once-1", "at-once-2", "at-once-4",
    }  # fmt: skip
    cold = found[contenders.CREATE_COLD]
    assert cold.phase == "verify"
    assert cold.line(title) == (
        "create, booted: 0.876 x, was 0.778 x (+13%) of the floor; "
        "verify: 0.267 x, was 0.167 x (+60%)"
    )
    assert (
        found[contenders.VERIFY].line(title) == "verify: 0.267 x, was 0.167 x (+60%) of the floor"
    )


def test_growth_up_to_a_quarter_is_allowed():
    assert grown(whole_run(verify=10.0), whole_run(verify=12.4))[1] == {}
    assert grown(whole_run(verify=10.0), whole_run(verify=12.6))[1] != {}


def test_a_phase_that_takes_next_to_nothing_is_noise():
    new = whole_run()
    new.samples[contenders.CREATE_COLD] = [
        replace(sample, phases={**sample.phases, "network": sample.phases["network"] + 1.0})
        for sample in new.samples[contenders.CREATE_COLD]
    ]
    assert grown(whole_run(), new)[1] == {}


def test_a_quick_command_that_grew_is_named_without_a_phase():
    new = whole_run()
    new.samples["list"] = [replace(one, seconds=one.seconds * 2) for one in new.samples["list"]]
    found = grown(whole_run(), new)[1]
    assert [(one.key, one.phase) for one in found.values()] == [("list", None)]


def test_time_outside_of_the_phases_is_named_too():
    new = whole_run()
    new.samples["stop"] = [replace(one, seconds=one.seconds + 5) for one in new.samples["stop"]]
    (found,) = grown(whole_run(), new)[1].values()
    assert (found.key, found.phase) == ("stop", "outside of phases")


def test_a_new_phase_has_no_ratio_before():
    old, new = Results(), Results()
    old.add("start", sample_of(printed("start", [("boot", 30.0)])))
    new.add("start", sample_of(printed("start", [("boot", 30.0), ("wait", 20.0)])))
    title, found = grown(old, new)
    assert title == "the boot of start"
    assert found["start"].line(title).endswith("; wait: 0.667 x, was 0 x")


def test_tests_without_a_floor_are_compared_by_a_boot():
    tests = Results()
    tests.add("create-cold", sample_of(create(slower=2.0, verify=30.0)))
    title, found = grown(whole_run(), tests)
    assert title == "the boot of create, booted"
    assert found["create-cold"].phase == "verify"


def test_runs_with_nothing_in_common_are_not_compared():
    assert grown(whole_run(), Results()) == (None, {})


def test_check_warns_and_does_not_fail(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    whole_run().write(old)
    whole_run(verify=20.0).write(new)
    assert program.main(["--check", str(old), str(new)]) == 0
    said = capsys.readouterr().out
    assert "Warning: slower than before: verify: 0.333 x, was 0.167 x (+100%) of the floor" in said
    assert program.main(["--check", str(old), str(old)]) == 0
    assert capsys.readouterr().out == "No ratio to the floor grew by more than 25%\n"


def test_check_before_anything_is_kept(tmp_path, capsys):
    assert (
        program.main(["--check", str(tmp_path / "results.json"), str(tmp_path / "new.json")]) == 0
    )
    assert "bench/run --keep" in capsys.readouterr().out


def test_check_of_runs_without_a_common_yardstick(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    whole_run().write(old)
    Results().write(new)
    assert program.main(["--check", str(old), str(new)]) == 0
    assert "Nothing to compare" in capsys.readouterr().out


def test_check_of_a_damaged_file_is_one_line(tmp_path, capsys):
    (tmp_path / "old.json").write_text("{")
    assert program.main(["--check", str(tmp_path / "old.json"), str(tmp_path / "old.json")]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
