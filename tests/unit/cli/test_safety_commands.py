"""Rebuild, trash, snapshots, clone, resize, doctor: text, JSON, and the question before."""

from dataclasses import replace
from pathlib import Path

import pytest

from devvm.cli.output import Output
from devvm.errors import NotFoundError, ParityError
from devvm.model import Disk, DomainDisk, Kept, Outcome, Purpose
from devvm.operations import (
    clone,
    create,
    doctor,
    lifecycle,
    rebuild,
    resize,
    risk,
    snapshots,
    tidy,
    trash,
)
from devvm.operations.findings import Finding
from tests.unit.cli.documented import RELEASE, documented, documented_for, fake


@pytest.fixture
def kept(vm):
    return Kept(
        id="3f9a2c1b",
        purpose=Purpose.TRASH,
        label="destroyed",
        kept_at="2026-11-23T02:00:00+00:00",
        expires_at="2026-12-07T02:00:00+00:00",
        uuid=vm.uuid,
        mac="52:54:00:00:00:01",
        consistency="off",
        vm=vm.metadata,
        disks=(DomainDisk(device="vda", role="root", path=Path("/p/root.qcow2")),),
    )


@pytest.fixture
def passed(report):
    checks = tuple(replace(check, outcome=Outcome.PASSED) for check in report.checks)
    return replace(report, checks=checks)


@pytest.fixture
def there(monkeypatch, vm):
    fake(monkeypatch, lifecycle, "check", None)
    fake(monkeypatch, lifecycle, "get", vm)


@pytest.fixture
def person(monkeypatch):
    """Somebody at the terminal, who types this."""
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    return lambda typed: monkeypatch.setattr(Output, "ask", lambda self, prompt: typed)


def test_destroy_has_to_be_confirmed(cli, services, monkeypatch, there, kept):
    done = trash.Destroyed(name="dev1", kept=kept)
    calls = fake(monkeypatch, trash, "destroy", done)
    refused = cli("destroy", "dev1")
    assert refused.code == 2
    assert "Next: devvm destroy dev1 --yes" in refused.stderr
    assert not calls
    data = cli("destroy", "dev1", "--yes", "--json").json
    assert set(data) == documented_for("destroy")
    assert set(data["trash"]) == documented("Item")
    result = cli("destroy", "dev1", "--yes")
    assert result.stdout == "dev1 is in the trash until 2026-12-07 02:00 UTC\n"
    assert "devvm recover dev1" in result.stderr


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("", 0), ("n", 2), ("dev1", 2)])
def test_a_person_is_asked_once(cli, services, monkeypatch, there, person, kept, typed, code):
    calls = fake(monkeypatch, trash, "destroy", trash.Destroyed(name="dev1", kept=kept))
    person(typed)
    assert cli("destroy", "dev1").code == code
    assert bool(calls) is (code == 0)


def test_for_good_only_with_the_name_once_more(cli, services, monkeypatch, there):
    done = trash.Destroyed(name="dev1", kept=None)
    calls = fake(monkeypatch, trash, "destroy", done)
    refused = cli("destroy", "dev1", "--yes", "--purge", "dev2")
    assert refused.code == 2
    assert "devvm destroy dev1 --purge dev1" in refused.stderr
    assert not calls
    assert cli("destroy", "dev1", "--purge", "dev1").stdout == "dev1 is gone\n"
    assert calls[0][1] == {"purge": True}


def test_what_is_not_there_needs_no_confirmation(cli, services, monkeypatch):
    missing = NotFoundError("there is no VM dev9", resolution="devvm list")
    fake(monkeypatch, lifecycle, "check", missing)
    result = cli("destroy", "dev9", "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == "not-found"
    assert set(result.json["error"]) == documented("Error")


def test_recover(cli, services, monkeypatch, vm, passed, report):
    calls = fake(monkeypatch, trash, "recover", trash.Recovered(vm=vm, report=passed))
    monkeypatch.setattr(trash, "takes_the_place", lambda services, name: True)
    assert set(cli("recover", "dev1", "--json").json) == documented_for("recover")
    assert cli("recover", "dev1").stdout == "dev1 is back and runs; 2 of 2 checks passed\n"
    refused = cli("recover", "dev1", "--item", "3f9a2c1b")
    assert "devvm recover dev1 --item 3f9a2c1b --yes" in refused.stderr
    cli("recover", "dev1", "--item", "3f9a2c1b", "--yes")
    assert [c[1]["identifier"] for c in calls] == [None, None, "3f9a2c1b"]
    fake(monkeypatch, trash, "recover", trash.Recovered(vm=vm, report=report))
    assert cli("recover", "dev1").code == 3


def test_the_trash(cli, services, monkeypatch, kept):
    fake(monkeypatch, trash, "items", [kept])
    fake(monkeypatch, trash, "show", [kept])
    assert set(cli("trash", "list", "--json").json) == documented_for("trash list")
    assert "3f9a2c1b  dev1  destroyed" in cli("trash", "list").stdout
    assert "devvm recover dev1 --item 3f9a2c1b" in cli("trash", "show", "dev1").stdout
    fake(monkeypatch, trash, "items", [])
    assert "empty" in cli("trash", "list").stderr


def test_emptying_wants_the_name(cli, services, monkeypatch, kept, person):
    fake(monkeypatch, trash, "show", [kept])
    calls = fake(monkeypatch, trash, "empty", ["root.qcow2"])
    person("yes")
    assert cli("trash", "empty", "dev1").code == 2
    assert not calls
    person("dev1")
    assert cli("trash", "empty", "dev1").stdout == "1 item deleted for good\n"
    assert cli("trash", "empty", "dev1", "--purge", "dev2").code == 2
    data = cli("trash", "empty", "dev1", "--purge", "dev1", "--json").json
    assert set(data) == documented_for("trash empty")


def test_nobody_to_type_the_name(cli, services, monkeypatch, kept):
    fake(monkeypatch, trash, "show", [kept])
    refused = cli("trash", "empty", "dev1")
    assert refused.code == 2
    assert "devvm trash empty dev1 --purge dev1" in refused.stderr


def test_emptying_without_a_name_is_for_what_has_expired(cli, services, monkeypatch):
    fake(monkeypatch, tidy, "expired", [])
    fake(monkeypatch, trash, "empty", [])
    assert "expired" in cli("trash", "empty").stdout


@pytest.fixture
def rebuilt(monkeypatch, services, vm, passed, box, there):
    monkeypatch.setattr(create, "find_box", lambda services, release, *, newest: box)
    result = rebuild.RebuildResult(vm=vm, report=passed, previous="3f9a2c1b")
    return fake(monkeypatch, rebuild, "rebuild", result)


def test_rebuild_of_a_vm_with_nothing_at_risk(cli, monkeypatch, rebuilt):
    fake(monkeypatch, risk, "look", risk.Risk())
    result = cli("rebuild", "dev1", "--json")
    assert set(result.json) == documented_for("rebuild")
    assert set(result.json["risk"]) == documented("Risk")
    assert "devvm recover dev1 --item 3f9a2c1b" in cli("rebuild", "dev1").stdout


def test_rebuild_says_what_is_at_risk_and_asks(cli, monkeypatch, rebuilt):
    checkout = risk.Checkout(path="/opt/x", changes=2, commits=1, stashes=1, on_data_disk=False)
    stays = replace(checkout, path="/home/jane/y", commits=0, stashes=0, on_data_disk=True)
    found = risk.Risk(checkouts=(checkout, stays), files=("/etc/motd",))
    fake(monkeypatch, risk, "look", found)
    refused = cli("rebuild", "dev1")
    assert refused.code == 2
    assert "/opt/x: 2 uncommitted changes, 1 unpushed commit, 1 stashed change" in refused.stderr
    assert "/home/jane/y: 2 uncommitted changes (stays)" in refused.stderr
    assert "/etc/motd" in refused.stderr
    assert "Next: devvm rebuild dev1 --yes" in refused.stderr
    assert not rebuilt
    assert cli("rebuild", "dev1", "--yes").code == 0


def test_rebuild_of_a_vm_that_can_not_be_looked_into_asks(cli, monkeypatch, rebuilt):
    fake(monkeypatch, risk, "look", risk.Risk(unknown="it does not run (it is shut off)"))
    refused = cli("rebuild", "dev1", "--release", RELEASE)
    assert "it does not run" in refused.stderr
    assert f"Next: devvm rebuild dev1 --release {RELEASE} --yes" in refused.stderr


def test_rebuild_to_a_release_that_fails_its_checks(cli, monkeypatch, rebuilt):
    fake(monkeypatch, risk, "look", risk.Risk())
    fake(monkeypatch, rebuild, "rebuild", ParityError("dev1 does not pass; it is as it was"))
    assert cli("rebuild", "dev1").code == 3


def test_snapshots(cli, services, monkeypatch, vm, kept):
    frozen = replace(kept, purpose=Purpose.SNAPSHOT, label="before", consistency="frozen")
    snapshot = snapshots.Snapshot(kept=frozen, used_bytes=2**20)
    fake(monkeypatch, snapshots, "create", snapshot)
    fake(monkeypatch, snapshots, "list_snapshots", [snapshot])
    fake(monkeypatch, snapshots, "check", None)
    fake(monkeypatch, snapshots, "restore_snapshot", vm)
    fake(monkeypatch, snapshots, "delete", [])
    data = cli("snapshot", "create", "dev1", "before", "--json").json
    assert set(data) == documented_for("snapshot create")
    assert set(data["snapshot"]) == documented("Snapshot")
    assert set(cli("snapshot", "list", "dev1", "--json").json) == documented_for("snapshot list")
    assert "running, frozen" in cli("snapshot", "list", "dev1").stdout
    refused = cli("snapshot", "restore", "dev1", "before")
    assert "Next: devvm snapshot restore dev1 before --yes" in refused.stderr
    restored = cli("snapshot", "restore", "dev1", "before", "--yes", "--json").json
    assert set(restored) == documented_for("snapshot restore")
    deleted = cli("snapshot", "delete", "dev1", "before", "--json").json
    assert set(deleted) == documented_for("snapshot delete")


@pytest.mark.parametrize("label", ["", "../x", "a b", "-x", "x" * 41, "a\nb"])
def test_names_that_no_snapshot_can_have(cli, services, label):
    assert cli("snapshot", "create", "--json", "--", "dev1", label).code == 2


def test_clone(cli, services, monkeypatch, vm, passed):
    done = clone.Cloned(vm=replace(vm, name="dev2"), report=passed, url="https://dev2.devvm.test/")
    fake(monkeypatch, clone, "clone", done)
    data = cli("clone", "dev1", "--as", "dev2", "--json").json
    assert set(data) == documented_for("clone")
    assert "dev2 is a copy of dev1" in cli("clone", "dev1", "--as", "dev2").stdout
    assert cli("clone", "dev1", "--as", "../x").code == 2


def test_resize(cli, services, monkeypatch):
    disk = Disk(
        device="vdb", role="devvm-data", path=Path("/p/d"), size_bytes=40 * 2**30, used_bytes=0
    )
    calls = fake(monkeypatch, resize, "resize", disk)
    assert set(cli("resize", "dev1", "--data", "40G", "--json").json) == documented_for("resize")
    assert cli("resize", "dev1", "--data", "40G").stdout == "The data disk of dev1 has 40.0 GiB\n"
    assert calls[0][0][:2] == ("dev1", 40)
    for bad in ("0", "-1", "x", "1K", "9999G", ""):
        assert cli("resize", "dev1", "--data", bad).code == 2


@pytest.fixture
def finding():
    return Finding(kind="files", subject="dev1", problem="of its folder is lost: id_ecdsa",
                   mend=lambda run: None)  # fmt: skip


def test_doctor_finds(cli, services, monkeypatch, finding):
    diagnosis = doctor.Diagnosis(findings=(finding,), busy=())
    fake(monkeypatch, doctor, "examine", diagnosis)
    result = cli("doctor", "--json")
    assert result.code == 1
    assert set(result.json) == documented_for("doctor") - {"name", "holder"}
    assert set(result.json["findings"][0]) == documented("Finding")
    assert "Next: devvm doctor --fix" in cli("doctor").stdout


def test_doctor_mends(cli, services, monkeypatch, finding):
    fake(monkeypatch, doctor, "examine", doctor.Diagnosis(findings=(finding,), busy=()))
    fake(monkeypatch, doctor, "mend", (doctor.Treated(finding=finding, mended=True),))
    result = cli("doctor", "--fix")
    assert result.code == 0
    assert "mended: dev1: of its folder is lost" in result.stdout
    left = doctor.Treated(finding=finding, mended=False, error="no: agent")
    fake(monkeypatch, doctor, "mend", (left,))
    assert cli("doctor", "--fix").code == 1


def test_doctor_on_a_healthy_host(cli, services, monkeypatch):
    busy = (doctor.Busy(name="dev2", holder="ann (process 7) holds it"),)
    fake(monkeypatch, doctor, "examine", doctor.Diagnosis(findings=(), busy=busy))
    result = cli("doctor")
    assert (result.code, result.stdout) == (0, "All is well\n")
    assert "dev2 is being changed now" in result.stderr
