"""What a killed operation left is ended by the next command on the VM, whichever it is."""

import pytest

from devvm.domain.errors import DevvmError, LockedError, OperationError
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations.core import journal
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.vm import lifecycle, snapshots, trash
from tests.support.memory_host import Layer
from tests.support.world import Killed, World


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    return world


def changing(world, name="dev1"):
    with transaction.changing(world.machine(name), world.run("stop dev1")) as before:
        return before


def open_journal(world, operation, **facts):
    begun = {"command": "x", "token": "0a1b2c3d", "was_running": True, **facts}
    world.state.open_journal("dev1", operation, begun)


def test_nothing_unfinished_is_nothing_to_do(dev1):
    before = dev1.picture()
    assert changing(dev1) is None
    assert dev1.picture() == before
    assert dev1.reporter.notes == []


def test_the_lock_is_held_while_a_vm_is_changed(dev1):
    with transaction.changing(dev1.machine(), dev1.run("stop dev1")):
        assert "stop dev1" in dev1.state.holder("dev1")
        with pytest.raises(LockedError):
            changing(dev1)
    assert dev1.state.holder("dev1") is None


def test_it_says_what_was_found_and_what_came_of_it(dev1):
    open_journal(dev1, journal.SNAPSHOT, label="now", disks={}, consistency="off", temporary=False)
    before = changing(dev1)
    assert (before.operation, before.outcome) == (journal.SNAPSHOT, "undone")
    assert not before.done(journal.SNAPSHOT)
    assert before.was_running
    first, *_, last = dev1.reporter.notes
    assert "An earlier snapshot of dev1" in first
    assert last == "The snapshot of dev1 was undone"
    assert dev1.state.journal("dev1") is None


def test_the_pool_is_started_first_as_the_host_may_have_been_restarted(dev1):
    open_journal(dev1, journal.RESIZE, sizes={})
    assert changing(dev1).done(journal.RESIZE)
    assert "ensure_pool" in dev1.host.calls


def test_volumes_that_an_undone_operation_made_are_gone_and_others_are_not(dev1):
    for token in ("0a1b2c3d", "ffffffff"):
        dev1.host.volumes[f"dev1.devvm.test-data.{token}.qcow2"] = Layer()
    open_journal(dev1, journal.REBUILD)
    assert changing(dev1).outcome == "undone"
    assert dev1.unused() == ["dev1.devvm.test-data.ffffffff.qcow2"]


def test_a_vm_that_ran_before_is_started_again_unless_it_is_to_be_off(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    open_journal(dev1, journal.REBUILD)
    with transaction.changing(dev1.machine(), dev1.run("destroy dev1"), start=False):
        assert dev1.vm().state is VmState.SHUTOFF
    open_journal(dev1, journal.REBUILD, was_running=False)
    changing(dev1)
    assert dev1.vm().state is VmState.SHUTOFF
    open_journal(dev1, journal.REBUILD)
    changing(dev1)
    assert dev1.vm().state is VmState.RUNNING


def test_a_create_of_a_vm_that_is_complete_is_finished(dev1):
    open_journal(dev1, journal.CREATE, uuid=dev1.vm().uuid)
    assert changing(dev1).done(journal.CREATE)
    assert dev1.vm().metadata.ready


def test_a_create_that_was_not_finished_leaves_no_trace(tmp_path):
    world = World(tmp_path)
    world.host.fail_at, world.host.failure = "personalise", Killed()
    with pytest.raises(Killed):
        world.create()
    world.again()
    assert world.remnants("dev1") != []
    assert changing(world).outcome == "undone"
    assert world.remnants("dev1") == []


def test_stop_and_destroy_end_what_create_began_too(tmp_path):
    world = World(tmp_path)
    world.host.fail_at, world.host.failure = "verify", Killed()
    with pytest.raises(Killed):
        world.create()
    world.again()
    found = trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    assert found.kept is None
    assert world.remnants("dev1") == []


def test_destroy_of_a_vm_whose_create_was_killed_at_the_very_end_takes_it(dev1):
    open_journal(dev1, journal.CREATE, uuid=dev1.vm().uuid)
    found = trash.destroy(dev1.services, "dev1", dev1.run("destroy dev1"))
    assert found.kept.destroyed
    assert dev1.vm() is None


def test_a_restore_that_was_killed_does_not_stand_for_another(dev1):
    for label in ("one", "two"):
        dev1.write("dev1", "home/note", label)
        snapshots.create(dev1.services, "dev1", label, dev1.run("snapshot create"))
    dev1.again()
    dev1.host.fail_at, dev1.host.failure = "start", Killed()
    with pytest.raises(Killed):
        snapshots.restore_snapshot(dev1.services, "dev1", "one", dev1.run("snapshot restore"))
    dev1.again()
    snapshots.restore_snapshot(dev1.services, "dev1", "two", dev1.run("snapshot restore"))
    assert dev1.read("dev1", "home/note") == "two"


def test_undoing_that_fails_is_said_and_left_to_the_next(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    dev1.again()
    dev1.host.fail_at, dev1.host.failure = "define_vm", OperationError("no libvirt")
    open_journal(dev1, journal.REBUILD)
    vm = dev1.vm()
    saved_states.keep(
        dev1.services, vm, token="0a1b2c3d", purpose=Purpose.PREVIOUS, label="before the rebuild"
    )
    with (
        pytest.raises(OperationError, match="broken") as caught,
        transaction.ended_on_failure(dev1.machine(), dev1.run("rebuild dev1")),
    ):
        raise OperationError("broken")
    assert str(caught.value.__cause__) == "no libvirt"
    assert any("Undoing failed too: no libvirt" in note for note in dev1.reporter.notes)
    assert dev1.state.journal("dev1")["operation"] == journal.REBUILD
    dev1.again()
    assert changing(dev1).outcome == "undone"
    assert dev1.vm().disks == vm.disks
    assert saved_states.find(dev1.services, "0a1b2c3d") is None


def test_an_operation_of_a_newer_devvm_is_an_error_that_can_be_acted_on(dev1):
    open_journal(dev1, "teleport")
    with pytest.raises(DevvmError):
        changing(dev1)
    assert dev1.state.journal("dev1") is not None
