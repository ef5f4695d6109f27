"""Checks of all VMs of a host in parallel: results, what is kept of them, interrupts."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from devvm.adapters.testinfra import Testinfra
from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import OperationError
from devvm.domain.vm import VmState
from devvm.operations.core.progress import Run
from devvm.operations.verify.fleet import FleetReport, OfCheck, OfRelease, verify_all
from devvm.operations.vm import lifecycle
from devvm.system import process
from tests.support.world import RELEASE, World

PASSED = CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED)
FAILED = replace(PASSED, outcome=Outcome.FAILED, message="it is off")


class Verifier:
    """Does what a test wants for each VM, and counts how many are checked at once."""

    def __init__(self, behave):
        self._behave = behave
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.threads = set()

    def check(self, target, *, checks, detail, log, packages=None, junit=None):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.threads.add(threading.get_ident())
        try:
            return self._behave(target.alias.removesuffix("-vagrant"), detail, log)
        finally:
            with self._lock:
                self._now -= 1


class Progress:
    def __init__(self):
        self.seen = []

    def phase_started(self, name, title):
        self.seen.append(title)

    def detail(self, text):
        assert threading.current_thread() is threading.main_thread()
        self.seen.append(text)

    def phase_finished(self, record):
        self.seen.append(record.result)

    def note(self, text):
        raise AssertionError(text)


class Fleet(World):
    def __init__(self, tmp_path, *names):
        super().__init__(tmp_path)
        for name in names:
            self.create(name)
        self.progress = Progress()

    def verify_all(self, behave, *, parallel=4):
        self.verifier = behave if hasattr(behave, "check") else Verifier(behave)
        services = replace(self.services, verifier=self.verifier)
        return verify_all(services, Run("verify --all", self.progress), parallel=parallel)

    def last_run(self, name):
        record = self.state.runs(name)[-1]
        return record.command, record.result, [phase.result for phase in record.phases]


def all_well(name, detail, log):
    return (PASSED,)


def test_as_many_as_wanted_are_checked_together_and_no_more(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2", "dev3", "dev4", "dev5", "dev6")
    three = threading.Barrier(3, timeout=20)  # breaks unless three are checked at once

    def behave(name, detail, log):
        three.wait()
        return (PASSED,)

    found = fleet.verify_all(behave, parallel=3)
    assert found.passed
    assert list(found.reports) == ["dev1", "dev2", "dev3", "dev4", "dev5", "dev6"]
    assert fleet.verifier.most == 3
    assert threading.get_ident() not in fleet.verifier.threads


def test_one_at_a_time(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2", "dev3")
    fleet.verify_all(all_well, parallel=1)
    assert fleet.verifier.most == 1
    bar = "[{}] {} of 3; checking {}"
    assert fleet.progress.seen == [
        "Checking 3 VMs",
        bar.format("." * 20, 0, "dev1"),
        bar.format("#" * 6 + "." * 14, 1, "dev2"),
        bar.format("#" * 13 + "." * 7, 2, "dev3"),
        "done",
    ]


def test_a_vm_that_can_not_be_checked_hides_no_other(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2", "dev3", "dev4", "dev5", "dev6")
    (fleet.state.vm("dev3") / "ssh_config").unlink()
    fleet.state.forget("dev4")
    lifecycle.stop(fleet.services, "dev6", fleet.run("stop dev6"))

    def behave(name, detail, log):
        if name == "dev2":
            raise OperationError("dev2 could not be checked", details="No route\n", log=log)
        return (FAILED if name == "dev5" else PASSED,)

    found = fleet.verify_all(behave)
    assert list(found.reports) == ["dev1", "dev5"]
    assert found.differing == ("dev5",)
    assert found.not_running == ("dev6",)
    assert list(found.not_checked) == ["dev2", "dev3", "dev4"]
    assert found.not_checked["dev2"] == "dev2 could not be checked: No route"
    assert "has lost what it needs to log in to dev3: " in found.not_checked["dev3"]
    assert not found.passed
    assert fleet.last_run("dev1") == ("verify dev1", "done", ["done"])
    assert fleet.last_run("dev2") == ("verify dev2", "failed", ["failed"])
    assert fleet.last_run("dev3") == ("verify dev3", "failed", [])
    assert fleet.last_run("dev5") == ("verify dev5", "failed", ["done"])
    assert fleet.last_run("dev6")[0] == "stop dev6"
    assert not fleet.state.vm("dev4").exists()


def test_what_a_tool_printed_is_in_its_log_and_not_in_the_reason(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2")

    def behave(name, detail, log):
        details = "Traceback\n  many\n  lines" if name == "dev1" else None
        raise OperationError("no", details=details, log=log)

    assert fleet.verify_all(behave).not_checked == {
        name: f"no: see {fleet.state.logs_of(name)[-1]}" for name in ("dev1", "dev2")
    }


def test_each_vm_has_a_report_of_its_release_and_a_log_of_its_own(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2")

    def behave(name, detail, log):
        log.write_text(name)
        return (PASSED,)

    found = fleet.verify_all(behave)
    assert [(r.vm, r.release) for r in found.reports.values()] == [
        ("dev1", RELEASE),
        ("dev2", RELEASE),
    ]
    for name in ("dev1", "dev2"):
        assert fleet.state.logs_of(name)[-1].read_text() == name


def test_no_vm_and_none_that_runs(tmp_path):
    fleet = Fleet(tmp_path)
    assert fleet.verify_all(all_well) == FleetReport()
    fleet.create("dev1")
    lifecycle.stop(fleet.services, "dev1", fleet.run("stop dev1"))
    assert fleet.verify_all(all_well) == FleetReport(not_running=("dev1",))
    assert fleet.verifier.most == 0
    assert fleet.progress.seen == []


def test_what_is_neither_on_nor_off_does_not_run(tmp_path):
    fleet = Fleet(tmp_path, "dev1")
    domain = fleet.host.domains["dev1.devvm.test"]
    fleet.host.domains["dev1.devvm.test"] = replace(domain, state=VmState.PAUSED)
    assert fleet.verify_all(all_well).not_running == ("dev1",)


@pytest.fixture
def ctrl_c():
    """Interrupt the main thread, like a terminal."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, previous)


def talk_for_ever(name, detail, log):
    while True:
        detail("still looking")
        time.sleep(0.01)


def wait_for_a_command(name, detail, log):
    """Act like the suite waiting for a VM that doesn't answer."""
    pid_file = log.with_suffix(".pid")
    process.stream(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 600"], detail, log=log)


@pytest.mark.parametrize("hang", [talk_for_ever, wait_for_a_command])
def test_an_interrupt_ends_what_runs_and_starts_nothing_more(tmp_path, ctrl_c, hang):
    fleet = Fleet(tmp_path, "dev1", "dev2", "dev3", "dev4")
    both = threading.Barrier(2, action=lambda: threading.Timer(0.3, ctrl_c).start(), timeout=20)

    def behave(name, detail, log):
        if name == "dev1":
            return (PASSED,)
        both.wait()
        return hang(name, detail, log)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fleet.verify_all(behave, parallel=2)
    assert time.monotonic() - start < 10
    assert fleet.verifier.most <= 2
    assert fleet.progress.seen[-1] == "failed"
    assert fleet.last_run("dev1") == ("verify dev1", "done", ["done"])
    for name in ("dev2", "dev3"):
        assert fleet.last_run(name) == (f"verify {name}", "interrupted", ["failed"])
    assert fleet.last_run("dev4")[0] == "create dev4"
    for file in fleet.state.logs.glob("*.pid"):
        assert not Path(f"/proc/{file.read_text().strip()}").exists()


def test_a_bug_is_not_taken_for_a_vm_that_can_not_be_checked(tmp_path):
    fleet = Fleet(tmp_path, "dev1", "dev2")
    both = threading.Barrier(2, timeout=20)

    def behave(name, detail, log):
        both.wait()
        if name == "dev1":
            raise ZeroDivisionError
        wait_for_a_command(name, detail, log)

    with pytest.raises(ZeroDivisionError):
        fleet.verify_all(behave)
    assert fleet.last_run("dev2") == ("verify dev2", "interrupted", ["failed"])


def test_a_command_of_the_interrupted_thread_itself_is_left_to_it():
    lines = []

    def on_line(line):
        process.kill_commands_of_other_threads()
        lines.append(line)

    assert process.stream(["sh", "-c", "echo one; echo two"], on_line) == 0
    assert lines == ["one", "two"]


# The suite itself, in several children at once

CONFTEST = """
import json

import pytest

def pytest_addoption(parser):
    for name in ("overlay", "production", "expectations", "release-packages", "results"):
        parser.addoption(f"--{name}")

@pytest.fixture
def say(request):
    with open(request.config.getoption("--results"), "a") as file:
        yield lambda **event: file.write(json.dumps(event) + "\\n")
"""
SUITE = """
def test(say, request):
    vm = request.config.getoption("--hosts").removeprefix("ssh://").partition("-vagrant")[0]
    for number in range(500):
        say(event="result", name=f"{vm}/{number:03}", role="r", outcome="passed", message="",
            seconds=0.1)
"""


def test_suites_that_run_side_by_side_do_not_meet(tmp_path):
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text(CONFTEST)
    (suite / "test_it.py").write_text(SUITE)
    names = [f"dev{number}" for number in range(1, 7)]
    fleet = Fleet(tmp_path, *names)
    found = fleet.verify_all(Testinfra(suite=suite, production=tmp_path), parallel=6)
    assert dict(found.not_checked) == {}
    for name in names:
        checks = found.reports[name].checks
        assert [check.name for check in checks] == [f"{name}/{n:03}" for n in range(500)]
        assert f"--hosts=ssh://{name}-vagrant?" in fleet.state.logs_of(name)[-1].read_text()


# The report


def report(name, *checks, release="2026.11.23-aaa"):
    return Report(vm=name, release=release, checks=(PASSED, *checks), seconds=1.0)


def fleet_of(*reports):
    return FleetReport(reports={one.vm: one for one in reports})


def failing(name, message="it is off", outcome=Outcome.FAILED, **more):
    return CheckResult(name=name, role="r", outcome=outcome, message=message, **more)


def test_by_release_the_newest_first():
    found = fleet_of(
        report("dev1"),
        report("dev2", FAILED),
        report("dev3", release="2026.12.01-bbb"),
        report("dev4"),
    )
    assert found.by_release() == (
        OfRelease(release="2026.12.01-bbb", vms_total=1, vms_matching=1, vms_differing=0),
        OfRelease(release="2026.11.23-aaa", vms_total=3, vms_matching=2, vms_differing=1),
    )
    assert found.differing == ("dev2",)


def test_by_check_what_fails_on_the_most_vms_first():
    found = fleet_of(
        report("dev1", failing("unit/b", "first"), failing("file/x", "", difference="missing")),
        report("dev2", failing("unit/b", "second"), failing("unit/a")),
        report("dev3", failing("unit/c", outcome=Outcome.WAIVED)),
        report("dev4", failing("package/x", outcome=Outcome.AHEAD)),
    )
    assert found.by_check() == (
        OfCheck(check="unit/b", checks_total=1, vms=("dev1", "dev2"), message="first"),
        OfCheck(check="file/x", checks_total=1, vms=("dev1",), message="missing"),
        OfCheck(check="unit/a", checks_total=1, vms=("dev2",), message="it is off"),
    )


def test_a_server_that_is_down_is_one_line():
    down = [
        failing(f"setting/mariadb:{number:03}", "mariadb does not answer", Outcome.ERROR)
        for number in range(900)
    ]
    found = fleet_of(
        report("dev1", *down),
        report("dev2", failing("setting/mariadb:001", "it is 3, not 4"), *down[2:]),
        report("dev3", failing("file/x", "mariadb does not answer", Outcome.ERROR)),
    )
    assert found.by_check() == (
        OfCheck(
            check="setting/mariadb:000 ... setting/mariadb:899",
            checks_total=900,
            vms=("dev1", "dev2"),
            message="mariadb does not answer",
        ),
        OfCheck(check="file/x", checks_total=1, vms=("dev3",), message="mariadb does not answer"),
        OfCheck(
            check="setting/mariadb:001", checks_total=1, vms=("dev2",), message="it is 3, not 4"
        ),
    )


def test_a_few_errors_alike_are_told_by_name_beside_failures_of_the_check():
    found = fleet_of(
        report("dev1", failing("http/a", "no answer", Outcome.ERROR)),
        report(
            "dev2", failing("http/a", "it is 500"), failing("http/b", "no answer", Outcome.ERROR)
        ),
    )
    assert found.by_check() == (
        OfCheck(check="http/a", checks_total=1, vms=("dev1", "dev2"), message="no answer"),
        OfCheck(check="http/b", checks_total=1, vms=("dev2",), message="no answer"),
    )


def test_a_vm_of_which_nothing_was_seen_is_not_as_production():
    empty = Report(vm="dev1", release="x", checks=(), seconds=0.0)
    found = fleet_of(empty)
    assert (found.passed, found.differing, found.by_check()) == (False, ("dev1",), ())


def test_a_vm_without_devvms_facts_has_an_unknown_release(tmp_path):
    fleet = Fleet(tmp_path, "dev1")
    vm = replace(fleet.vm(), metadata=None)
    fleet.services = replace(fleet.services, domains=SimpleNamespace(vms=lambda: [vm]))
    fleet.boxes.boxes.clear()
    assert fleet.verify_all(all_well).reports["dev1"].release == "unknown"
