"""What is kept of a VM's last check, for overviews of many VMs."""

import errno
import json
import os
from dataclasses import replace

import pytest

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.operations.verify import fleet, last_result, verify
from devvm.operations.verify.last_result import FailedCheck
from devvm.operations.vm import rebuild, trash
from tests.support.world import ANN, RELEASE, World

OTHER = "2026.12.01-bbbbbbbbbbbb"
PASSED = CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED)
FAILED = CheckResult(
    name="unit/redis-server.service", role="redis", outcome=Outcome.FAILED,
    message="it is off\nsince 5 min",
)  # fmt: skip


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.create()
    return made


@pytest.fixture
def file(world):
    return world.state.vm("dev1") / "parity.json"


def kept(world, release=RELEASE):
    return last_result.find(world.state, "dev1", release)


def keep(world, *checks):
    report = Report(vm="dev1", release=RELEASE, checks=checks, seconds=1.5)
    last_result.keep(world.state, report)
    return kept(world)


def test_create_leaves_what_its_check_found(world):
    record = kept(world)
    assert (record.passed, record.checks_passed, record.checks_total) == (True, 1, 1)
    assert record.at.endswith("+00:00")


@pytest.mark.parametrize(
    "check",
    [
        lambda world: verify.verify(world.services, "dev1", world.run("verify dev1")),
        lambda world: fleet.verify_all(world.services, world.run("verify"), parallel=2),
        lambda world: rebuild.rebuild(
            world.services,
            rebuild.RebuildRequest(name="dev1", engineer=ANN),
            world.run("rebuild dev1"),
        ),
    ],
)
def test_every_way_of_checking_leaves_its_result(world, check):
    keep(world, FAILED)
    check(world)
    assert kept(world).passed


def test_all_is_counted_and_what_fails_is_named(world):
    checks = (
        PASSED,
        FAILED,
        replace(PASSED, outcome=Outcome.ERROR, name="tls/443", message=""),
        replace(PASSED, outcome=Outcome.WAIVED, message="small"),
        replace(PASSED, outcome=Outcome.AHEAD),
    )
    record = keep(world, *checks)
    assert not record.passed
    counts = (
        record.checks_passed, record.checks_failed, record.checks_waived, record.checks_ahead,
        record.checks_total,
    )  # fmt: skip
    assert counts == (1, 2, 1, 1, 5)
    assert record.seconds == 1.5
    assert record.failing == (
        FailedCheck(
            name="unit/redis-server.service",
            role="redis",
            outcome=Outcome.FAILED,
            message="it is off",
        ),
        FailedCheck(name="tls/443", role="nginx", outcome=Outcome.ERROR, message="error"),
    )


def test_of_very_many_failures_the_first_are_named_and_all_are_counted(world, file):
    record = keep(world, *(replace(FAILED, name=f"a/{n}", message="x" * 5000) for n in range(900)))
    assert (record.checks_failed, len(record.failing)) == (900, 200)
    assert file.stat().st_size < 100_000


def test_what_a_machine_says_can_be_anything(world):
    hostile = "half \udcff, \x00, \x1b[31m, \u202e, größer"
    record = keep(world, replace(FAILED, name=hostile, role=hostile, message=hostile))
    assert record.failing[0].message == "half \\udcff, \x00, \x1b[31m, \u202e, größer"


def test_it_is_of_the_release_that_the_vm_has(world):
    keep(world, FAILED)
    assert kept(world, OTHER) is None


def test_it_goes_with_the_vm(world):
    keep(world, FAILED)
    trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    assert kept(world) is None


def test_a_machine_without_a_folder_gets_none(world):
    last_result.keep(world.state, Report(vm="box", release=RELEASE, checks=(PASSED,), seconds=1.0))
    assert not world.state.vm("box").exists()


def test_a_check_succeeds_where_its_result_can_not_be_kept(world, file, monkeypatch):
    before = file.read_text()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    world.verifier.outcome = Outcome.FAILED
    report = verify.verify(world.services, "dev1", world.run("verify dev1"))
    assert not report.passed
    assert file.read_text() == before
    file.unlink()
    file.mkdir()  # can't be replaced by a file
    monkeypatch.undo()
    assert not verify.verify(world.services, "dev1", world.run("verify dev1")).passed
    assert kept(world) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: "",
        lambda good: "{",
        lambda good: "null",
        lambda good: "[1]",
        lambda good: "{}",
        lambda good: "\x00" * 100,
        lambda good: good[: len(good) // 2],
        lambda good: json.dumps({**json.loads(good), "version": 2}),
        lambda good: json.dumps({**json.loads(good), "at": "yesterday"}),
        lambda good: json.dumps({**json.loads(good), "checks_failed": "3"}),
        lambda good: json.dumps({**json.loads(good), "failing": [{"name": "x"}]}),
        lambda good: json.dumps({**json.loads(good), "failing": 7}),
    ],
)
def test_what_is_damaged_is_as_if_there_were_none(world, file, damage):
    file.write_text(damage(file.read_text()))
    assert kept(world) is None
    assert keep(world, PASSED).passed


def test_bytes_that_are_no_text_are_as_if_there_were_none(world, file):
    file.write_bytes(b"\xff\xfe\x00")
    assert kept(world) is None
