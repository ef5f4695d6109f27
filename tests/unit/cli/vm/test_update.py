"""`devvm update` on a VM in memory."""

import pytest

from devvm.cli.output import Output
from devvm.domain.vm import VmState
from devvm.operations.update import update
from tests.support.fleet_world import BASE_FILES, NEW
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for

IMAGE = "2026.12.01-bbbbbbbbbbbb"


@pytest.fixture
def new_image(dev):
    """A release that needs a rebuild, and work that is not on the data disk."""
    dev.add(IMAGE, {**BASE_FILES, "roles/guest/tasks/main.yml": b"x"})
    dev.on_roots["dev001"] = "repo\t/root/tool\t1\t2\t0\tno\nfile\t/etc/motd\n"
    return dev


def test_update_brings_a_vm_to_the_newest_release(cli, dev):
    done = cli("update", "dev001")
    assert done.code == 0
    assert dev.release_of("dev001") == NEW
    for part in (
        "dev001 was updated", NEW, "converge in place: 1 role changes, which needs no new root",
        "1 of 1 check passed", "in the trash: devvm recover dev001 --item ", "devvm ssh dev001",
    ):  # fmt: skip
        assert part in done.stdout
    assert "converge: Applying nginx" in done.stderr


def test_its_json(cli, dev):
    data = cli("update", "dev001", "--release", NEW, "--json", "-q").json
    assert set(data) == documented_for("update")
    assert set(data["way"]) == documented("Way")
    assert (data["way"]["kind"], data["way"]["roles"]) == ("converge", ["nginx"])
    assert data["vm"]["release"] == NEW
    again = cli("update", "dev001", "--json", "-q").json
    assert (again["way"], again["previous"]) == (None, None)


def test_one_that_is_there_already_is_checked(cli, dev):
    cli("update", "dev001")
    again = cli("update", "dev001")
    assert (again.code, again.stdout) == (0, f"dev001 is already on {NEW}; 1 of 1 check passed\n")
    dev.verifier.failing.add(("dev001", NEW))
    differs = cli("update", "dev001")
    assert differs.code == 3
    assert "0 of 1 check passed" in differs.stdout
    assert "devvm verify dev001" in differs.stderr


def test_a_new_root_is_agreed_on_where_work_would_be_out_of_sight(cli, new_image, monkeypatch):
    refused = cli("update", "dev001")
    assert refused.code == 2
    assert "/root/tool: 1 uncommitted change, 2 unpushed commits (NOT on" in refused.stderr
    assert f"Next: devvm update dev001 --release {IMAGE} --yes" in refused.stderr
    assert new_image.release_of("dev001") == RELEASE
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", lambda self, prompt: "n")
    assert cli("update", "dev001").code == 2
    monkeypatch.setattr(Output, "ask", lambda self, prompt: "y")
    done = cli("update", "dev001")
    assert done.code == 0
    assert "rebuild on the new box: how the image is built changes (role guest)" in done.stdout
    assert new_image.release_of("dev001") == IMAGE


def test_what_was_agreed_on_is_not_done_to_a_vm_that_changed_meanwhile(cli, new_image, monkeypatch):
    def answer(_output, _prompt):
        request = update.UpdateRequest(name="dev001", release=NEW)
        update.update(new_image.services, request, new_image.run("update dev001"))
        return "y"

    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", answer)
    refused = cli("update", "dev001")
    assert refused.code == 5
    assert "dev001 changed while its update was being prepared" in refused.stderr
    assert f"Next: devvm update dev001 --release {IMAGE}" in refused.stderr
    assert new_image.release_of("dev001") == NEW


def test_yes_asks_nothing(cli, new_image):
    assert cli("update", "dev001", "--yes").code == 0


def test_a_new_root_may_be_asked_for(cli, dev):
    done = cli("update", "dev001", "--rebuild", "--json")
    assert done.json["way"] == {
        "kind": "rebuild", "reason": "requested", "roles": [], "every_role": False,
        "packages": [], "removed": [],
    }  # fmt: skip


def test_one_that_is_off_is_started_first(cli, world):
    world.fleet(1, off=("dev001",))
    assert cli("update", "dev001").code == 0
    assert (world.vm("dev001").state, world.release_of("dev001")) == (VmState.RUNNING, NEW)


@pytest.mark.parametrize("what", ["update", "parity"])
def test_one_that_fails_is_as_it_was(cli, dev, what):
    if what == "parity":
        dev.verifier.failing.add(("*", NEW))
    else:
        dev.provisioner.failing["dev001"] = what
    failed = cli("update", "dev001")
    assert failed.code == (3 if what == "parity" else 1)
    assert f"Error: dev001 could not be updated to {NEW}" in failed.stderr
    assert "Log: " in failed.stderr
    assert dev.release_of("dev001") == RELEASE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dev009",), "there is no VM dev009"),
        (("Dev 1",), "Dev 1"),
        (("dev001", "--release", "newest"), "'newest' is not a release"),
        (("dev001", "--release", "2026.12.01-cccccccccccc"), "is not on record"),
        (("dev001", "dev002"), "unexpected extra argument"),
    ],
)
def test_bad_input_changes_nothing(cli, dev, arguments, said):
    refused = cli("update", *arguments)
    assert refused.code == 2
    assert said in refused.stderr.replace("Got unexpected", "unexpected")
    assert dev.release_of("dev001") == RELEASE
