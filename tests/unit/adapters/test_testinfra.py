"""The testinfra adapter, with real runs of pytest on scratch suites; and the operation on top."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from devvm.adapters.testinfra import Testinfra
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.errors import NotFoundError, OperationError
from devvm.domain.vm import Target, VmState
from devvm.operations.core.progress import Run
from devvm.operations.verify import verify as operation
from devvm.system.state import State
from tests.support.reference_stack import REFERENCE

#: The options and events of the real suite, without a machine.
CONFTEST = """
import json
import pytest

def pytest_addoption(parser):
    parser.addoption("--overlay")
    parser.addoption("--results")
    parser.addoption("--release-packages")
    parser.addoption("--production")
    parser.addoption("--expectations")

@pytest.fixture
def say(request):
    def say(**event):
        with open(request.config.getoption("--results"), "a") as file:
            file.write(json.dumps(event) + "\\n")
    return say

def result(name, outcome="passed", message=""):
    return dict(event="result", name=name, role="r", outcome=outcome, message=message, seconds=0.1)
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.suite = folder / "suite"
        self.suite.mkdir()
        (self.suite / "conftest.py").write_text(CONFTEST)
        self.log = folder / "log"
        self.junit = folder / "junit.xml"
        self.details: list[str] = []

    def check(self, body: str, **more) -> tuple[CheckResult, ...]:
        text = f"import pytest\nfrom conftest import result\n{body}\n"
        (self.suite / "test_it.py").write_text(text)
        return Testinfra(suite=self.suite, production=self.suite).check(
            Target(ssh_config=Path("/no such/config"), alias="dev1"),
            checks=self.suite,
            detail=self.details.append,
            log=self.log,
            **more,
        )


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_results_come_by_name_and_skipped_ones_are_left_out(bench):
    results = bench.check(
        """
def test(say):
    say(**result("b/two"))
    say(**result("c/three", "skipped"))
    say(**result("a/one"))
""",
        junit=bench.junit,
    )
    assert [(r.name, r.role, r.outcome) for r in results] == [
        ("a/one", "r", Outcome.PASSED),
        ("b/two", "r", Outcome.PASSED),
    ]
    assert bench.details[1:] == ["b/two", "c/three", "a/one"]
    assert "<testsuite" in bench.junit.read_text()
    assert "--hosts=ssh://dev1?" in bench.log.read_text()


def test_checks_that_fail_are_results(bench):
    results = bench.check(
        """
def test(say):
    say(**result("a", "failed", "expected 1, found 2"))
    say(**result("b", "error", "not observed: no answer"))
    assert False
"""
    )
    assert [(r.outcome, r.message) for r in results] == [
        (Outcome.FAILED, "expected 1, found 2"),
        (Outcome.ERROR, "not observed: no answer"),
    ]


def test_a_machine_that_can_not_be_reached_is_no_result(bench):
    with pytest.raises(OperationError) as caught:
        bench.check(
            """
def test(say):
    say(event="aborted", message="Connection refused")
    pytest.exit("can't look", returncode=3)
"""
        )
    assert caught.value.brief == "dev1 could not be checked"
    assert caught.value.details == "Connection refused"
    assert caught.value.resolution == "ssh -F '/no such/config' dev1 sudo python3 --version"
    assert caught.value.log == bench.log


@pytest.mark.parametrize(
    "body",
    ["this is no python", "", "def test(): assert False", "def test(): raise KeyboardInterrupt"],
)
def test_a_suite_that_can_not_run_is_no_result(bench, body):
    with pytest.raises(OperationError) as caught:
        bench.check(body)
    assert caught.value.brief == "the checks of dev1 could not run"
    assert caught.value.log == bench.log


def test_neither_the_persons_settings_nor_the_folder_around_count(bench, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    (bench.suite.parent / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    assert bench.check("def test(say):\n    say(**result('a'))")


def test_the_suites_folder_is_left_alone(bench):
    before = {"conftest.py", "test_it.py"}
    bench.check("def test(say):\n    say(**result('a'))")
    assert {path.name for path in bench.suite.iterdir()} == before


# as in `devvm verify`


class Quiet:
    def phase_started(self, name, title): ...
    def detail(self, text): ...
    def phase_finished(self, record): ...
    def note(self, text): ...


class World:
    """The services that verify uses, and how they were called."""

    def __init__(self, root, *, vm, checks=()):
        self.config = SimpleNamespace()
        self.state = State(root)
        self.state.ensure()
        self.domains = SimpleNamespace(vm=lambda name: vm)
        self.verifier, self.stack = self, REFERENCE
        self.releases = SimpleNamespace(folder=lambda release: None)
        self.boxes = SimpleNamespace(find=lambda release: SimpleNamespace(packages={"a": "1"}))
        self._checks = checks
        self.asked = []
        folder = self.state.vm("dev1")
        folder.mkdir()
        (folder / "ssh_config").touch()

    def check(self, target, *, checks, detail, log, packages=None, junit=None):
        assert checks == REFERENCE.checks
        self.asked.append((target.alias, packages, junit))
        if isinstance(self._checks, Exception):
            raise self._checks
        return self._checks


def vm(state=VmState.RUNNING):
    return SimpleNamespace(
        name="dev1", state=state, metadata=SimpleNamespace(release="2026.11.23-abc")
    )


def check(outcome):
    return CheckResult(name="a", role="r", outcome=outcome)


@pytest.mark.parametrize(
    ("outcome", "kept"), [(Outcome.PASSED, "done"), (Outcome.FAILED, "failed")]
)
def test_verify_reports_and_keeps_the_run(tmp_path, outcome, kept):
    world = World(tmp_path, vm=vm(), checks=(check(outcome),))
    junit = tmp_path / "junit.xml"
    report = operation.verify(world, "dev1", Run("verify dev1", Quiet()), junit=junit)
    assert (report.vm, report.release) == ("dev1", "2026.11.23-abc")
    assert report.passed is (outcome is Outcome.PASSED)
    assert world.asked == [("dev1-vagrant", {"a": "1"}, junit)]
    (record,) = world.state.runs("dev1")
    assert (record.result, [phase.name for phase in record.phases]) == (kept, ["verify"])


def test_verify_of_no_vm(tmp_path):
    with pytest.raises(NotFoundError, match="no VM dev1") as caught:
        operation.verify(World(tmp_path, vm=None), "dev1", Run("verify", Quiet()))
    assert "devvm create dev1" in caught.value.resolution


def test_verify_of_a_stopped_vm(tmp_path):
    world = World(tmp_path, vm=vm(VmState.SHUTOFF))
    with pytest.raises(OperationError) as caught:
        operation.verify(world, "dev1", Run("verify", Quiet()))
    assert caught.value.resolution == "devvm start dev1"
    assert world.asked == []


def test_verify_that_could_not_run_is_kept_as_failed(tmp_path):
    world = World(tmp_path, vm=vm(), checks=OperationError("no"))
    with pytest.raises(OperationError, match="no"):
        operation.verify(world, "dev1", Run("verify", Quiet()))
    assert [record.result for record in world.state.runs("dev1")] == ["failed"]
