"""create: checks first, undone if it fails; the next one cleans up after a killed one."""

import json
import os
from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.errors import (
    ExistsError,
    HostNotReadyError,
    LockedError,
    NotFoundError,
    OperationError,
    UsageError,
)
from devvm.domain.vm import Engineer
from devvm.operations.core import journal
from devvm.operations.provision import provision
from devvm.operations.vm import create, trash
from tests.support.memory_host import Layer
from tests.support.world import GIB, POOL, RELEASE, Killed, World

ANN = Engineer(
    login="ann", authorized_keys=("ssh-ed25519 ANN",), git_name="Ann Lee", git_email="ann@x.test"
)
#: Every step of create that changes something, in order.
STEPS = (
    "ensure_network", "reserve_lease", "ensure_pool", "add_box", "upload_box", "make_data_disk",
    "upload_data", "define", "boot", "set_metadata", "wait", "personalise", "verify", "layer",
    "move_disk", "set_metadata_ready",
)  # fmt: skip


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def make(world, name="dev1", services=None, **more):
    request = create.CreateRequest(name=name, engineer=ANN, **more)
    return create.create(services or world.services, request, world.run(f"create {name}"))


def test_a_vm_is_made_personalised_checked_and_ready(world):
    result = make(world)
    assert result.vm.metadata.ready
    assert (result.vm.name, result.vm.metadata.engineer) == ("dev1", "ann")
    assert result.vm.metadata.release == RELEASE
    assert result.url == "https://dev1.devvm.test/"
    assert result.ssh_command == "devvm ssh dev1"
    assert result.report.passed
    assert world.reporter.phases == ["check", "network", "disks", "boot", "personalise", "verify"]
    assert list(dict.fromkeys(c for c in world.host.calls if c in STEPS)) == list(STEPS)
    assert world.state.journal("dev1") is None
    (kept,) = world.state.runs("dev1")
    assert (kept.command, kept.result) == ("create dev1", "done")


def test_the_engineer_gets_every_key_and_the_stamp_its_release(world):
    make(world)
    variables = world.provisioner.variables
    assert variables["engineer_login"] == "ann"
    assert variables["engineer_authorized_keys"] == [
        "ssh-ed25519 ANN",
        "ecdsa-sha2-nistp256 AAAA devvm dev1",
    ]
    assert variables["engineer_git_name"] == "Ann Lee"
    assert variables["devvm_stamp"]["release"] == RELEASE


def test_secrets_are_in_the_disk_and_nowhere_else(world):
    make(world)
    public = world.data_disks.identity.pop("ssh_host_ed25519_key.pub")
    assert public.startswith("ssh-ed25519 HOST-")
    assert public.endswith(" dev1.devvm.test\n")
    assert world.data_disks.identity.pop("site.crt").startswith("SITE CHAIN")
    assert json.loads(world.data_disks.identity.pop("engineer.json"))["engineer_login"] == "ann"
    assert world.data_disks.identity == {
        "ssh_host_ed25519_key": "HOST KEY\n",
        "site.key": "SITE KEY\n",
        "ca.crt": "CA\n",
    }
    assert world.data_disks.folder_mode == 0o700
    for path in world.state.root.rglob("*"):
        if path.is_file():
            assert "HOST KEY" not in path.read_text()
            assert "SITE KEY" not in path.read_text()


def test_a_vm_that_does_not_pass_is_kept_and_said(world):
    world.verifier.outcome = Outcome.FAILED
    result = make(world)
    assert not result.report.passed
    assert result.vm.metadata.ready


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("failure", [OperationError("broken"), KeyboardInterrupt()])
def test_a_failure_in_any_step_is_undone(world, step, failure):
    world.host.fail_at, world.host.failure = step, failure
    with pytest.raises(type(failure)):
        make(world)
    assert world.remnants("dev1") == []
    world.host.fail_at = ""
    assert make(world).vm.metadata.ready


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_any_step_and_typed_again(world, step):
    world.host.fail_at, world.host.failure = step, Killed()
    with pytest.raises(Killed):
        make(world)
    world.again()
    assert world.state.journal("dev1") is not None
    result = make(world)
    assert result.vm.metadata.ready
    assert world.state.journal("dev1") is None
    assert world.unused() == []
    assert any("has not finished" in note for note in world.reporter.notes)


def test_killed_after_the_last_step_it_is_complete_and_checked_again(world):
    vm = make(world).vm
    world.state.open_journal("dev1", journal.CREATE, {"uuid": vm.uuid, "token": "x"})
    assert make(world).vm == vm
    assert world.state.journal("dev1") is None


def test_no_root_keeps_the_name_that_vagrant_gives_to_every_root(world):
    vm = make(world).vm
    assert vm.root.name != "dev1.devvm.test.img"
    assert "dev1.devvm.test.img" not in world.host.volumes
    trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    assert make(world).vm.uuid != vm.uuid


def test_keep_leaves_what_failed_for_a_look(world):
    world.host.fail_at, world.host.failure = "personalise", OperationError("broken")
    with pytest.raises(OperationError):
        make(world, keep=True)
    assert "dev1.devvm.test" in world.remnants("dev1")
    assert any("devvm destroy dev1" in note for note in world.reporter.notes)
    assert world.state.journal("dev1") is None  # no other command removes it


def test_undoing_that_fails_is_said_and_done_by_the_next(world, monkeypatch):
    world.host.fail_at, world.host.failure = "personalise", OperationError("broken")
    with monkeypatch.context() as patch:
        patch.setattr(
            provision, "take_down", lambda *_: (_ for _ in ()).throw(OperationError("no libvirt"))
        )
        with pytest.raises(OperationError, match="broken"):
            make(world)
    assert any("no libvirt" in note for note in world.reporter.notes)
    assert world.state.journal("dev1") is not None
    world.host.fail_at = ""
    assert make(world).vm.metadata.ready


def test_an_existing_vm_is_left_alone(world):
    make(world)
    before = world.remnants("dev1")
    with pytest.raises(ExistsError) as caught:
        make(world)
    assert "devvm ssh dev1" in caught.value.resolution
    assert "devvm destroy dev1" in caught.value.resolution
    assert world.remnants("dev1") == before


def test_somebody_elses_domain_is_left_alone(world):
    world.foreign("dev1.devvm.test")
    before = world.picture()
    with pytest.raises(ExistsError, match="devvm did not make") as caught:
        make(world)
    assert "virsh" in caught.value.resolution
    assert world.picture() == before


def test_somebody_elses_domain_survives_the_undoing_of_a_killed_create(world):
    world.state.open_journal("dev1", journal.CREATE, {"uuid": "ours", "token": "x"})
    world.foreign("dev1.devvm.test", "dev1.devvm.test.img")
    with pytest.raises(ExistsError):
        make(world)
    assert list(world.host.domains) == ["dev1.devvm.test"]
    assert list(world.host.volumes) == ["dev1.devvm.test.img"]


def test_data_of_an_earlier_vm_is_never_written_over(world):
    world.host.volumes["dev1.devvm.test-data.12345678.qcow2"] = Layer()
    with pytest.raises(ExistsError, match="disks of an earlier dev1") as caught:
        make(world)
    assert "devvm recover dev1" in caught.value.resolution
    assert list(world.host.volumes) == ["dev1.devvm.test-data.12345678.qcow2"]


def test_a_root_of_vagrants_name_that_is_in_the_trash_is_said(world):
    make(world)
    root = world.vm().disks[0]
    first = POOL / "dev1.devvm.test.img"
    world.host.volumes[first.name] = world.host.volumes.pop(root.path.name)
    domain = world.host.domains["dev1.devvm.test"]
    disks = tuple(replace(d, path=first) if d == root else d for d in domain.disks)
    world.host.domains["dev1.devvm.test"] = replace(domain, disks=disks, live=disks)
    trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    with pytest.raises(ExistsError) as caught:
        make(world)
    assert "devvm trash empty dev1" in caught.value.resolution


@pytest.mark.parametrize("name", ["", "../x", "a b", "a;reboot", "a" * 64, "Dev1", "dév", "root"])
def test_bad_names_touch_nothing(world, name):
    with pytest.raises(UsageError):
        make(world, name=name)
    assert world.host.calls == []
    assert list(world.state.vms.iterdir()) == []


@pytest.mark.parametrize("name", ["network", "upload", "ca"])
def test_a_vm_may_be_called_as_a_lock_is(world, name):
    assert make(world, name=name).vm.metadata.ready


def test_no_box(world):
    world.boxes.boxes.clear()
    with pytest.raises(NotFoundError) as caught:
        make(world)
    assert caught.value.resolution == "devvm box build"


def test_more_memory_than_the_host_has_free(world):
    with pytest.raises(HostNotReadyError) as caught:
        make(world, services=world.configured(memory_mib=9000))
    assert "--memory" in caught.value.resolution
    assert "8064 MiB of 16384 MiB" in caught.value.details
    assert world.remnants("dev1") == []


def test_too_little_space(world):
    world.host.free = 2 * GIB
    with pytest.raises(HostNotReadyError, match="not enough space"):
        make(world)
    assert world.remnants("dev1") == []
    world.host.volumes[f"box-{RELEASE}.img"] = Layer()  # the box already exists
    assert make(world).vm.metadata.ready


def test_a_vm_that_somebody_changes_is_locked(world):
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        assert status == 0
        return
    code = 1
    with world.state.lock("dev1", "another"):
        try:
            make(world)
        except LockedError:
            code = 0
        finally:
            os._exit(code)
