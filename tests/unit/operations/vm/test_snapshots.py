"""snapshot: a named state of a VM; the VM keeps running, and can be restored."""

from dataclasses import replace

import pytest

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import ExistsError, NotFoundError, OperationError, UsageError
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations.storage import saved_states
from devvm.operations.vm import lifecycle, snapshots, trash
from tests.support.world import World


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.write("dev1", "home/note", "mine")
    return world


def take(world, label="before"):
    return snapshots.create(world.services, "dev1", label, world.run("snapshot create dev1"))


def restore(world, label="before"):
    run = world.run("snapshot restore dev1")
    return snapshots.restore_snapshot(world.services, "dev1", label, run)


def delete(world, label="before"):
    return snapshots.delete(world.services, "dev1", label, world.run("snapshot delete dev1"))


def labels(world):
    return [s.kept.label for s in snapshots.list_snapshots(world.services, "dev1")]


def test_a_running_vm_runs_on_on_new_layers(dev1):
    old = dev1.vm()
    made = take(dev1)
    vm = dev1.vm()
    assert (vm.state, vm.uuid, vm.metadata) == (VmState.RUNNING, old.uuid, old.metadata)
    assert "start" not in dev1.host.calls
    assert made.kept.disks == old.disks
    assert (made.kept.consistency, made.kept.label) == ("frozen", "before")
    assert made.kept.expires_at is None
    assert made.used_bytes == 2000
    assert {d.role: dev1.host.volumes[d.path.name].below for d in vm.disks} == {
        ROOT: old.root, DATA: old.data,
    }  # fmt: skip
    assert [run.command for run in dev1.state.runs("dev1")][1:] == ["snapshot create dev1"]


def test_without_an_agent_it_is_as_after_a_power_cut_and_that_is_said(dev1):
    dev1.host.agent = False
    assert take(dev1).kept.consistency == "crash"
    assert any("power cut" in note for note in dev1.reporter.notes)


def test_of_a_vm_that_is_off(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    assert take(dev1).kept.consistency == "off"
    assert dev1.vm().state is VmState.SHUTOFF
    assert dev1.read("dev1", "home/note") == "mine"


def test_back_and_the_state_in_between_is_in_the_trash(dev1):
    take(dev1)
    dev1.write("dev1", "home/note", "changed since")
    vm = restore(dev1)
    assert vm.state is VmState.RUNNING
    assert dev1.read("dev1", "home/note") == "mine"
    assert labels(dev1) == ["before"]
    (kept,) = trash.items(dev1.services, "dev1")
    assert kept.label == "before going back to before"
    assert dev1.host.read(kept.disks[1].path)["home/note"] == "changed since"


def test_back_again_and_again(dev1):
    take(dev1)
    for number in range(3):
        dev1.write("dev1", "home/note", f"attempt {number}")
        restore(dev1)
        assert dev1.read("dev1", "home/note") == "mine"
    assert len(trash.items(dev1.services, "dev1")) == 3
    assert dev1.unused() == []


def test_back_to_one_that_is_older_and_on_to_the_newer_one(dev1):
    take(dev1, "one")
    dev1.write("dev1", "home/note", "two")
    take(dev1, "two")
    restore(dev1, "one")
    assert dev1.read("dev1", "home/note") == "mine"
    restore(dev1, "two")
    assert dev1.read("dev1", "home/note") == "two"


def test_a_vm_that_is_off_stays_off(dev1):
    take(dev1)
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    assert restore(dev1).state is VmState.SHUTOFF
    assert dev1.read("dev1", "home/note") == "mine"


def test_keys_that_were_let_in_since_are_let_in_still(dev1):
    take(dev1)
    vm = dev1.vm()
    newer = replace(vm.metadata, authorized_keys=("NEW",), release="r2", generation=5)
    dev1.services.domains.set_metadata(vm.uuid, newer)
    metadata = restore(dev1).metadata
    assert (metadata.authorized_keys, metadata.generation) == (("NEW",), 5)
    assert metadata.release == vm.metadata.release


def test_a_failed_restore_leaves_the_vm_as_it_was(dev1):
    take(dev1)
    dev1.write("dev1", "home/note", "changed since")
    before = dev1.vm()
    dev1.host.fail_at, dev1.host.failure = "define_vm", OperationError("broken")
    with pytest.raises(OperationError, match="broken"):
        restore(dev1)
    assert dev1.vm() == before
    assert dev1.read("dev1", "home/note") == "changed since"
    assert trash.items(dev1.services) == []
    assert dev1.unused() == []


def test_a_failed_snapshot_is_none(dev1):
    before = dev1.picture()
    dev1.host.fail_at, dev1.host.failure = "split_disks", OperationError("broken")
    with pytest.raises(OperationError, match="broken"):
        take(dev1)
    assert dev1.picture() == before


def test_the_domain_s_file_says_what_disks_the_vm_has_now(dev1):
    take(dev1)
    dev1.write("dev1", "home/note", "changed since")
    dev1.host.domains.pop("dev1.devvm.test")
    trash.recover(dev1.services, "dev1", dev1.run("recover dev1"))
    assert dev1.read("dev1", "home/note") == "changed since"


def test_delete_leaves_the_vm_and_the_others_as_they_are(dev1):
    for label in ("one", "two", "three"):
        dev1.write("dev1", "home/note", label)
        dev1.write("dev1", f"only/{label}", "x")
        take(dev1, label)
    delete(dev1, "two")
    assert sorted(labels(dev1)) == ["one", "three"]  # from the same second
    assert dev1.unused() == []
    assert dev1.read("dev1", "home/note") == "three"
    for label in ("one", "three"):
        restore(dev1, label)
        assert dev1.read("dev1", "home/note") == label
        assert dev1.read("dev1", "only/one") == "x"


def test_deleting_all_of_them_merges_the_layers_of_the_data_again(dev1):
    for label in ("one", "two"):
        dev1.write("dev1", f"only/{label}", label)
        take(dev1, label)
    for label in ("one", "two"):
        delete(dev1, label)
    assert dev1.host.volumes[dev1.vm().data.name].below is None
    assert dev1.read("dev1", "only/one") == "one"
    assert dev1.read("dev1", "home/note") == "mine"
    assert saved_states.of_vm(dev1.machine(), Purpose.SNAPSHOT) == []
    assert dev1.unused() == []


def test_a_name_can_be_used_once_and_again_when_it_is_free(dev1):
    take(dev1)
    with pytest.raises(ExistsError) as caught:
        take(dev1)
    assert "devvm snapshot delete dev1 before" in caught.value.resolution
    delete(dev1)
    take(dev1)
    assert labels(dev1) == ["before"]


@pytest.mark.parametrize("label", ["", "a b", "-x", ".", "../x", "ä", "x" * 41, "x" * 500, "a\n"])
def test_bad_names_touch_nothing(dev1, label):
    with pytest.raises(UsageError) as caught:
        take(dev1, label)
    assert "before-upgrade" in caught.value.resolution
    assert len(caught.value.brief) < 120
    assert dev1.host.calls == []


@pytest.mark.parametrize("label", ["a", "1", "before-upgrade", "v1.2_rc", "x" * 40])
def test_good_names(label):
    assert snapshots.validate_label(label) == label


def test_there_is_no_such_snapshot_or_vm(dev1):
    for call in (
        lambda: restore(dev1),
        lambda: delete(dev1),
        lambda: snapshots.find(dev1.machine(), "before"),
        lambda: snapshots.list_snapshots(dev1.services, "dev2"),
        lambda: snapshots.check(dev1.services, "dev1", "before"),
    ):
        with pytest.raises(NotFoundError):
            call()
