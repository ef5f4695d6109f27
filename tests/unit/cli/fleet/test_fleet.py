"""`devvm fleet report`, and release status in `list` and `show`: text, JSON, the page."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devvm.domain.errors import OperationError
from devvm.domain.vm import VmState
from devvm.operations.fleet import report, status
from devvm.operations.fleet.report import Overview
from devvm.operations.fleet.status import Standing
from devvm.operations.vm import lifecycle
from devvm.operations.vm.lifecycle import VmDetails
from tests.support import made_up_fleet
from tests.unit.cli.documented import RELEASE, documented, documented_for, fake

FLEET = made_up_fleet.overview(60)
EMPTY = Overview(at=made_up_fleet.AT, vms=(), releases=(), checks=(), rollouts=(), hosts=())


@pytest.fixture
def found(services, monkeypatch):
    """Make the operation return this fleet; yields its calls."""
    return lambda fleet: fake(monkeypatch, report, "look", fleet)


def table(text, heading):
    """The rows of the table whose heading begins with a word."""
    part = next(part for part in text.split("\n\n") if part.split()[0] == heading)
    return [re.split(r" {2,}", line) for line in part.splitlines()[1:]]


def test_the_text_says_what_matters(cli, found):
    found(FLEET)
    done = cli("fleet", "report")
    assert (done.code, done.stderr) == (0, "")
    assert table(done.stdout, "RELEASE") == [
        [made_up_fleet.NEWEST, "40", "32", "5", "3", "latest"],
        [made_up_fleet.OLDER, "12", "8", "2", "2"],
        [made_up_fleet.OLDEST, "6", "5", "1", "0", "retired"],
        [made_up_fleet.UNKNOWN, "2", "2", "0", "0", "not on record"],
    ]
    behind = table(done.stdout, "VM")
    assert behind[0] == ["dev16", "engineer16", made_up_fleet.OLDEST, "2", "running"]
    assert len(behind) == 18
    assert table(done.stdout, "CHECK")[0][0] == "unit/redis-server.service"
    assert table(done.stdout, "ROLLOUT")[0] == [
        "20261125-1", made_up_fleet.NEWEST, "running", "28 of 60", "1", "31",
        "2026-11-25 19:00 UTC",
    ]  # fmt: skip
    host = " ".join(done.stdout.split("qemu:///system")[1].split())
    assert "VMs 60, 54 running" in host
    assert "Memory 136.0 GiB assigned to running VMs; 32.0 GiB free of 176.0 GiB" in host
    assert "61.0 GiB snapshots and trash, 8.0 GiB boxes; 420.0 GiB free" in host
    assert done.stdout.endswith(
        "60 VMs: 40 on the latest release, 18 behind, 8 differ from production, 5 not checked\n"
    )


def test_very_many_that_are_behind_are_counted(cli, found):
    found(made_up_fleet.overview(200))
    text = cli("fleet", "report").stdout
    assert len(table(text, "VM")) == 21
    assert re.search(r"^\.\.\. and [0-9]+ more: devvm list$", text, re.MULTILINE)


def test_the_json_has_all_of_it(cli, found):
    calls = found(FLEET)
    data = cli("fleet", "report", "--json").json
    assert calls == [((), {"rollouts": 10})]
    assert set(data) == documented_for("fleet report")
    assert data["at"] == made_up_fleet.AT
    vm = data["vms"][13]
    assert set(vm) == documented("VM") | documented("Standing") | documented("Fleet VM")
    assert set(vm["parity"]) == documented("Parity")
    assert (vm["name"], vm["behind"], vm["parity"]["failed"]) == ("dev14", 1, 2)
    assert set(data["releases"][0]) == documented("Fleet release")
    assert set(data["by_check"][0]) == {"check", "checks_total", "vms", "message"}
    assert set(data["rollouts"][0]) == documented("Fleet rollout")
    wave = data["rollouts"][0]["waves"][1]
    assert set(wave) == documented("Fleet wave")
    assert [wave[key] for key in ("total", "done", "failed", "waiting", "left")] == [
        30, 26, 1, 3, 0,
    ]  # fmt: skip
    assert wave["vms"][7] == {
        "name": "dev10", "state": "asked", "why": "its owner is at work; asked until 21:30",
    }  # fmt: skip
    assert set(data["hosts"][0]) == documented("Fleet host")


def test_the_page_is_written_beside_the_result(cli, found, tmp_path):
    found(FLEET)
    page = tmp_path / "fleet.html"
    data = cli("fleet", "report", "--html", str(page), "--json").json
    assert len(data["vms"]) == 60
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "60 VMs: 18 behind the latest release" in text


def test_a_page_that_can_not_be_written_is_said(cli, found, tmp_path):
    calls = found(FLEET)
    done = cli("fleet", "report", "--html", str(tmp_path / "nowhere" / "fleet.html"))
    assert (done.code, done.stdout, calls) == (2, "", [])
    assert "fleet.html can't be written" in done.stderr


def test_a_host_without_vms(cli, found, tmp_path):
    found(EMPTY)
    page = tmp_path / "fleet.html"
    done = cli("fleet", "report", "--html", str(page))
    assert done.stdout == "There are no VMs on this host. Next: devvm create\n"
    assert "There are no VMs" in page.read_text()
    assert cli("fleet", "report", "--json").json["vms"] == []


def test_an_error_is_told(cli, found):
    found(OperationError("a release can't be read", resolution="rm FILE"))
    done = cli("fleet", "report")
    assert done.code == 1
    assert "Next: rm FILE" in done.stderr


def ago(**time):
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds")


def checked(at, failed, *, passed=False):
    record = made_up_fleet.vm(1).standing.parity
    return replace(record, at=at, passed=passed, checks_failed=failed)


def test_list_says_how_vms_stand(cli, services, monkeypatch, vm):
    names = ("dev1", "dev2", "dev3", "dev4", "dev5")
    stands = {
        "dev1": Standing(behind=0, parity=checked(ago(hours=2, minutes=5), 0, passed=True)),
        "dev2": Standing(behind=1, parity=checked(ago(days=2, hours=1), 3)),
        "dev3": Standing(behind=12, parity=checked(ago(minutes=3), 1)),
        "dev4": Standing(behind=None, parity=None),
        "dev5": Standing(behind=0, parity=checked(ago(minutes=3), 0)),
    }
    fake(monkeypatch, lifecycle, "list_vms", [replace(vm, name=name) for name in names])
    fake(monkeypatch, status, "of", stands)
    lines = [re.split(r" {2,}", line) for line in cli("list").stdout.splitlines()]
    assert lines[0] == [
        "NAME", "STATE", "ENGINEER", "RELEASE", "BEHIND", "PARITY", "ADDRESS", "MEMORY", "CPUS",
        "AGE",
    ]  # fmt: skip
    assert [line[4:6] for line in lines[1:]] == [
        ["latest", "ok, 2 ahead, 2 h ago"],
        ["1", "3 differ, 2 ahead, 2 d ago"],
        ["12", "1 differs, 2 ahead, 3 min ago"],
        ["-", "-"],
        ["latest", "no checks, 2 ahead, 3 min ago"],
    ]
    data = cli("list", "--json").json["vms"]
    assert [one["behind"] for one in data] == [0, 1, 12, None, 0]
    assert data[3]["parity"] is None
    assert set(data[1]["parity"]) == documented("Parity")
    assert (data[1]["parity"]["failed"], data[1]["parity"]["passed"]) == (3, False)


@pytest.mark.parametrize(
    ("behind", "shown"), [(0, "latest"), (1, "1 release"), (3, "3 releases"), (None, "-")]
)
def test_show_says_how_a_vm_stands(cli, services, monkeypatch, vm, behind, shown):
    details = VmDetails(
        vm=replace(vm, state=VmState.SHUTOFF), url="u", ca_certificate=Path("/ca.crt"), disks=(),
        runs=(), logs=(),
    )  # fmt: skip
    fake(monkeypatch, lifecycle, "show", details)
    stands = Standing(behind=behind, parity=checked(ago(days=3), 0, passed=True))
    fake(monkeypatch, status, "of", {"dev1": stands})
    text = cli("show", "dev1").stdout
    assert re.search(
        rf"^Release +{RELEASE}\nStack +-\nBehind +{shown}\nParity +ok, 2 ahead, 3 d ago$",
        text,
        re.MULTILINE,
    )
    assert cli("show", "dev1", "--json").json["vm"]["behind"] == behind
