"""Stages of a build: a finished one is reused, unless its inputs have changed."""

import json

import pytest

from devvm.operations.box import stages
from devvm.operations.box.stages import Stage, StageLog
from devvm.operations.core.progress import Run


class Silent:
    def __init__(self):
        self.notes = []

    def phase_started(self, name, title):
        pass

    def detail(self, text):
        pass

    def phase_finished(self, record):
        pass

    def note(self, text):
        self.notes.append(text)


class Pipeline:
    """Three stages; the second makes no file, like one that changes the first one's result."""

    def __init__(self, folder):
        self.folder = folder
        self.ran = []
        self.inputs = {"a": 1, "b": 1, "c": 1}
        self.failing = None

    def run(self):
        self.ran = []
        reporter = Silent()
        StageLog(self.folder).run(
            [self._stage("a", output="a.out"), self._stage("b"), self._stage("c", output="c.out")],
            Run("box build", reporter),
        )
        return reporter.notes

    def _stage(self, name, output=None):
        path = self.folder / output if output else None

        def work():
            self.ran.append(name)
            if self.failing == name:
                raise RuntimeError(name)
            if path:
                path.write_text("made")

        return Stage(
            name=name, title=name, work=work, inputs={"value": self.inputs[name]}, output=path
        )


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path)


def test_all_stages_run_once(pipeline):
    assert pipeline.run() == []
    assert pipeline.ran == ["a", "b", "c"]
    assert len(pipeline.run()) == 3
    assert pipeline.ran == []


def test_an_interrupted_build_goes_on_where_it_stopped(pipeline):
    pipeline.failing = "b"
    with pytest.raises(RuntimeError):
        pipeline.run()
    pipeline.failing = None
    pipeline.run()
    assert pipeline.ran == ["b", "c"]


def test_a_changed_input_repeats_its_stage_and_all_after_it(pipeline):
    pipeline.run()
    pipeline.inputs["b"] = 2
    pipeline.run()
    assert pipeline.ran == ["b", "c"]


def test_a_stage_that_fails_again_no_longer_counts_nor_do_those_after_it(pipeline):
    pipeline.run()
    pipeline.inputs["a"] = 2
    pipeline.failing = "a"
    with pytest.raises(RuntimeError):
        pipeline.run()
    pipeline.failing, pipeline.inputs["a"] = None, 1
    pipeline.run()
    assert pipeline.ran == ["a", "b", "c"]


def test_a_lost_output_is_made_again_with_all_that_came_of_it(pipeline):
    pipeline.run()
    (pipeline.folder / "a.out").unlink()
    pipeline.run()
    assert pipeline.ran == ["a", "b", "c"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99, "stages": {}}'])
def test_unreadable_bookkeeping_costs_time_and_nothing_else(pipeline, content):
    pipeline.run()
    (pipeline.folder / "stages.json").write_text(content)
    pipeline.run()
    assert pipeline.ran == ["a", "b", "c"]


def test_durations_of_used_stages_are_kept(pipeline):
    pipeline.run()
    pipeline.run()
    log = StageLog(pipeline.folder)
    assert log.seconds().keys() == {"a", "b", "c"}
    assert json.loads((pipeline.folder / "stages.json").read_text())["format"] == 2


def test_after_a_crash_of_the_host_nothing_counts_as_finished(pipeline, tmp_path, monkeypatch):
    pipeline.run()
    other = tmp_path / "boot_id"
    other.write_text("0b8c7a51-0000-4000-8000-000000000000\n")
    monkeypatch.setattr(stages, "_BOOT", other)
    pipeline.run()
    assert pipeline.ran == ["a", "b", "c"]
    pipeline.run()
    assert pipeline.ran == []
