"""Rebuild, trash, snapshots, clone, resize, doctor: text, JSON, and confirmation."""

import re

import pytest

from devvm.cli.output import Output
from devvm.domain.disk import DATA
from devvm.domain.errors import OperationError
from devvm.domain.vm import VmState
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for


@pytest.fixture
def person(monkeypatch):
    """Somebody at the terminal, who types this."""
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    return lambda typed: monkeypatch.setattr(Output, "ask", lambda self, prompt: typed)


@pytest.fixture
def destroyed(cli, dev):
    """A VM in the trash; yields the id of its item."""
    return cli("destroy", "dev001", "--yes", "--json").json["trash"]["id"]


def in_trash(world):
    return [kept.id for kept in world.services.domains.saved_states()]


def fail_checks(world):
    world.verifier.failing.add(("*", RELEASE))


# Destroy, recover, trash ---------------------------------------------------------------------


def test_destroy_has_to_be_confirmed(cli, dev):
    refused = cli("destroy", "dev001")
    assert refused.code == 2
    assert "Next: devvm destroy dev001 --yes" in refused.stderr
    assert dev.vm("dev001").state is VmState.RUNNING
    result = cli("destroy", "dev001", "--yes")
    assert re.fullmatch(r"dev001 is in the trash until \S+ \S+ UTC\n", result.stdout)
    assert "devvm recover dev001" in result.stderr
    assert dev.vm("dev001") is None
    assert len(in_trash(dev)) == 1


def test_its_json(cli, dev):
    data = cli("destroy", "dev001", "--yes", "--json").json
    assert set(data) == documented_for("destroy")
    assert set(data["trash"]) == documented("Item")
    assert in_trash(dev) == [data["trash"]["id"]]


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("", 0), ("n", 2), ("dev001", 2)])
def test_a_person_is_asked_once(cli, dev, person, typed, code):
    person(typed)
    assert cli("destroy", "dev001").code == code
    assert (dev.vm("dev001") is None) is (code == 0)


def test_for_good_only_with_the_name_once_more(cli, dev):
    refused = cli("destroy", "dev001", "--yes", "--purge", "dev002")
    assert refused.code == 2
    assert "devvm destroy dev001 --purge dev001" in refused.stderr
    assert dev.vm("dev001") is not None
    assert (
        cli("destroy", "dev001", "--purge", "dev001").stdout == "dev001 was deleted permanently\n"
    )
    assert dev.remnants("dev001") == []


def test_what_is_not_there_needs_no_confirmation(cli, dev):
    result = cli("destroy", "dev009", "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == "not-found"
    assert set(result.json["error"]) == documented("Error")


def test_recover(cli, dev, destroyed):
    assert cli("recover", "dev001").stdout == "dev001 is back and running; 1 of 1 check passed\n"
    assert dev.vm("dev001").state is VmState.RUNNING


def test_recover_in_json(cli, destroyed):
    assert set(cli("recover", "dev001", "--json").json) == documented_for("recover")


def test_recover_in_place_of_the_vm_that_is_there_has_to_be_confirmed(cli, dev, destroyed):
    cli("recover", "dev001")
    dev.write("dev001", "home/notes", "of today")
    cli("snapshot", "create", "dev001", "before")
    cli("rebuild", "dev001", "--yes")
    (old,) = (kept.id for kept in dev.services.domains.saved_states() if kept.purpose == "trash")
    refused = cli("recover", "dev001", "--item", old)
    assert refused.code == 2
    assert f"devvm recover dev001 --item {old} --yes" in refused.stderr
    assert cli("recover", "dev001", "--item", old, "--yes").code == 0
    assert dev.read("dev001", "home/notes") == "of today"
    assert old not in in_trash(dev)


def test_recover_of_one_that_fails_its_checks(cli, dev, destroyed):
    fail_checks(dev)
    assert cli("recover", "dev001").code == 3
    assert dev.vm("dev001").state is VmState.RUNNING


def test_the_trash(cli, dev, destroyed):
    data = cli("trash", "list", "--json").json
    assert set(data) == documented_for("trash list")
    assert [item["id"] for item in data["items"]] == [destroyed]
    assert f"{destroyed}  dev001  destroyed" in cli("trash", "list").stdout
    assert f"devvm recover dev001 --item {destroyed}" in cli("trash", "show", "dev001").stdout
    cli("trash", "empty", "dev001", "--purge", "dev001")
    assert "empty" in cli("trash", "list").stderr


def test_emptying_wants_the_name(cli, dev, destroyed, person):
    person("yes")
    assert cli("trash", "empty", "dev001").code == 2
    assert cli("trash", "empty", "dev001", "--purge", "dev002").code == 2
    assert in_trash(dev) == [destroyed]
    person("dev001")
    assert cli("trash", "empty", "dev001").stdout == "1 item deleted permanently\n"
    assert in_trash(dev) == []
    assert dev.unused() == []


def test_emptying_in_json(cli, destroyed):
    data = cli("trash", "empty", "dev001", "--purge", "dev001", "--json").json
    assert set(data) == documented_for("trash empty")
    assert [item["id"] for item in data["items"]] == [destroyed]
    assert data["removed"]


def test_nobody_to_type_the_name(cli, dev, destroyed):
    refused = cli("trash", "empty", "dev001")
    assert refused.code == 2
    assert "devvm trash empty dev001 --purge dev001" in refused.stderr
    assert in_trash(dev) == [destroyed]


def test_emptying_without_a_name_is_for_what_has_expired(cli, dev, destroyed):
    assert "Nothing in the trash has expired" in cli("trash", "empty").stdout
    assert in_trash(dev) == [destroyed]


# Rebuild -------------------------------------------------------------------------------------


def test_rebuild_of_a_vm_with_nothing_at_risk(cli, dev):
    data = cli("rebuild", "dev001", "--json").json
    assert set(data) == documented_for("rebuild")
    assert set(data["risk"]) == documented("Risk")
    shown = cli("rebuild", "dev001").stdout
    newest = [kept.id for kept in dev.services.domains.saved_states()][-1]
    assert f"devvm recover dev001 --item {newest}" in shown


def test_rebuild_says_what_is_at_risk_and_asks(cli, dev):
    dev.on_roots["dev001"] = (
        "repo\t/opt/x\t2\t1\t1\tno\nrepo\t/home/jane/y\t2\t0\t0\tyes\nfile\t/etc/motd\n"
    )
    before = dev.picture()
    refused = cli("rebuild", "dev001")
    assert refused.code == 2
    assert "/opt/x: 2 uncommitted changes, 1 unpushed commit, 1 stashed change" in refused.stderr
    assert "/home/jane/y: 2 uncommitted changes (kept)" in refused.stderr
    assert "/etc/motd" in refused.stderr
    assert "Next: devvm rebuild dev001 --yes" in refused.stderr
    assert dev.picture() == before
    assert cli("rebuild", "dev001", "--yes").code == 0
    assert len(in_trash(dev)) == 1


def test_rebuild_counts_what_nobody_would_miss(cli, dev):
    kept = [f"/var/lib/dpkg/info/p{n}.list" for n in range(20)]
    dev.on_roots["dev001"] = "".join(f"file\t{path}\n" for path in (*kept, "/etc/motd"))
    refused = cli("rebuild", "dev001")
    assert refused.code == 2
    assert "/etc/motd: changed since the VM was created (NOT on the data disk)" in refused.stderr
    counted = "- 20 files that dpkg, apt and other programs maintain (--json lists"
    assert refused.stderr.count(counted) == 1
    assert "/var/lib/dpkg" not in refused.stderr
    data = cli("rebuild", "dev001", "--yes", "--json").json
    assert data["risk"]["files"] == ["/etc/motd", *kept]


def test_rebuild_asks_nothing_where_nobody_would_miss_anything(cli, dev):
    dev.on_roots["dev001"] = "file\t/var/lib/dpkg/lock\n"
    done = cli("rebuild", "dev001")
    assert done.code == 0
    assert "- 1 file that dpkg, apt and other programs maintain" in done.stderr
    assert "Nothing you would miss: all other changes are on the data disk" in done.stderr


def test_rebuild_of_a_vm_that_can_not_be_looked_into_asks(cli, dev):
    cli("stop", "dev001")
    refused = cli("rebuild", "dev001", "--release", RELEASE)
    assert refused.code == 2
    assert "it is not running" in refused.stderr
    assert f"Next: devvm rebuild dev001 --release {RELEASE} --yes" in refused.stderr
    assert in_trash(dev) == []


def test_rebuild_to_a_release_that_fails_its_checks(cli, dev):
    fail_checks(dev)
    root = dev.vm("dev001").disks[0].path
    result = cli("rebuild", "dev001")
    assert result.code == 3
    assert "it is as it was" in result.stderr
    assert dev.vm("dev001").disks[0].path == root


# Snapshots, clone, resize --------------------------------------------------------------------


def test_snapshots(cli, dev):
    data = cli("snapshot", "create", "dev001", "before", "--json").json
    assert set(data) == documented_for("snapshot create")
    assert set(data["snapshot"]) == documented("Snapshot")
    assert set(cli("snapshot", "list", "dev001", "--json").json) == documented_for("snapshot list")
    assert "running, frozen" in cli("snapshot", "list", "dev001").stdout
    dev.write("dev001", "home/notes", "after")
    refused = cli("snapshot", "restore", "dev001", "before")
    assert refused.code == 2
    assert "Next: devvm snapshot restore dev001 before --yes" in refused.stderr
    assert dev.read("dev001", "home/notes") == "after"
    restored = cli("snapshot", "restore", "dev001", "before", "--yes", "--json").json
    assert set(restored) == documented_for("snapshot restore")
    assert dev.read("dev001", "home/notes") is None
    deleted = cli("snapshot", "delete", "dev001", "before", "--json").json
    assert set(deleted) == documented_for("snapshot delete")
    assert cli("snapshot", "list", "dev001", "--json").json["snapshots"] == []


@pytest.mark.parametrize("label", ["", "../x", "a b", "-x", "x" * 41, "a\nb"])
def test_names_that_no_snapshot_can_have(cli, dev, label):
    assert cli("snapshot", "create", "--json", "--", "dev001", label).code == 2
    assert dev.services.domains.saved_states() == []


def test_clone(cli, dev):
    dev.write("dev001", "home/notes", "mine")
    assert "dev002 is a copy of dev001" in cli("clone", "dev001", "--as", "dev002").stdout
    assert dev.read("dev002", "home/notes") == "mine"
    assert set(cli("clone", "dev001", "--as", "dev003", "--json").json) == documented_for("clone")
    assert cli("clone", "dev001", "--as", "../x").code == 2
    assert dev.state.names() == ["dev001", "dev002", "dev003"]


def test_clone_of_a_snapshot(cli, dev):
    dev.write("dev001", "home/notes", "then")
    cli("snapshot", "create", "dev001", "before")
    dev.write("dev001", "home/notes", "now")
    done = cli("clone", "dev001", "--snapshot", "before", "--as", "dev002")
    assert done.code == 0
    assert dev.read("dev002", "home/notes") == "then"
    assert cli("clone", "dev001", "--snapshot", "never", "--as", "dev003").code == 2


def test_resize(cli, dev):
    assert set(cli("resize", "dev001", "--data", "40G", "--json").json) == documented_for("resize")
    data = next(d for d in dev.services.disks.of("dev001.devvm.test") if d.role == DATA)
    assert data.size_bytes == 40 * 2**30
    assert cli("resize", "dev001", "--data", "41G").stdout == (
        "The data disk of dev001 is now 41.0 GiB\n"
    )


@pytest.mark.parametrize("bad", ["0", "-1", "x", "1K", "9999G", ""])
def test_sizes_that_can_not_be(cli, dev, bad):
    before = dev.picture()
    assert cli("resize", "dev001", "--data", bad).code == 2
    assert dev.picture() == before


# Doctor --------------------------------------------------------------------------------------


@pytest.fixture
def ill(dev):
    """A VM with a file missing in its folder."""
    (dev.state.vm("dev001") / "id_ecdsa").unlink()
    return dev


def test_doctor_finds(cli, ill):
    result = cli("doctor", "--json")
    assert result.code == 1
    assert set(result.json) == documented_for("doctor") - {"name", "holder"}
    (finding,) = result.json["findings"]
    assert set(finding) == documented("Finding")
    assert finding["subject"] == "dev001"
    assert "Next: devvm doctor --fix" in cli("doctor").stdout


def test_doctor_mends(cli, ill):
    result = cli("doctor", "--fix")
    assert result.code == 0
    assert "fixed: dev001: missing from its folder: id_ecdsa" in result.stdout
    assert (ill.state.vm("dev001") / "id_ecdsa").exists()
    assert cli("doctor").stdout == "No problems found\n"


def test_what_the_doctor_can_not_mend_is_said(cli, ill):
    ill.host.fail_at, ill.host.failure = "authorize_key", OperationError("no", details="agent")
    result = cli("doctor", "--fix")
    assert result.code == 1
    assert "dev001: missing from its folder: id_ecdsa" in result.stdout
    assert "no: agent" in result.stdout
    assert "mended: dev001" not in result.stdout


def test_doctor_on_a_healthy_host(cli, dev):
    with dev.state.lock("dev001", "devvm stop dev001"):
        result = cli("doctor")
    assert (result.code, result.stdout) == (0, "No problems found\n")
    assert "dev001 is being changed and was not checked" in result.stderr
    assert "devvm stop dev001" in result.stderr
