"""destroy, recover, trash: moved away and back, and deleted permanently only if asked to."""

from dataclasses import replace

import pytest

from devvm.domain.errors import ExistsError, NotFoundError, OperationError, UsageError
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations.guest import ssh
from devvm.operations.storage import saved_states
from devvm.operations.vm import create, lifecycle, rebuild, snapshots, trash
from tests.support.memory_host import Layer
from tests.support.world import ANN, Killed, World

LONG_AGO = "2020-01-01T00:00:00+00:00"


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.write("dev1", "home/note", "mine")
    return world


def destroy(world, name="dev1", **more):
    return trash.destroy(world.services, name, world.run(f"destroy {name}"), **more)


def recover(world, name="dev1", **more):
    return trash.recover(world.services, name, world.run(f"recover {name}"), **more)


def do_rebuild(world):
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN)
    return rebuild.rebuild(world.services, request, world.run("rebuild dev1"))


def expire(world):
    for kept in world.services.domains.saved_states():
        saved_states.change_kept(world.services, replace(kept, expires_at=LONG_AGO))


def test_a_destroyed_vm_is_in_the_trash_and_nowhere_else(dev1):
    vm = dev1.vm()
    found = destroy(dev1)
    assert found.kept.disks == vm.disks
    assert found.kept.vm == vm.metadata
    assert (dev1.vm(), dev1.host.leases, dev1.state.names()) == (None, {}, [])
    assert trash.items(dev1.services) == trash.items(dev1.services, "dev1") == [found.kept]
    assert trash.show(dev1.services, "dev1") == trash.show(dev1.services, found.kept.id)
    with pytest.raises(NotFoundError) as caught:
        destroy(dev1)
    assert "devvm recover dev1" in caught.value.resolution


def test_purge_leaves_nothing_but_the_box(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    found = destroy(dev1, purge=True)
    assert found.kept is None
    assert dev1.remnants("dev1") == []
    assert list(dev1.host.volumes) == [f"box-{dev1.box.release}.img"]


def test_back_it_is_the_same_vm_with_a_new_key(dev1):
    vm = dev1.vm()
    destroy(dev1)
    found = recover(dev1)
    assert found.report.passed
    assert found.vm == vm
    assert found.vm.lease.mac == vm.mac
    assert dev1.read("dev1", "home/note") == "mine"
    assert trash.items(dev1.services) == []
    key = ssh.own_key(dev1.machine())
    assert dev1.host.domains[vm.fqdn].oem_string == ssh.oem_string(key)
    assert (dev1.state.vm("dev1") / "Vagrantfile").is_file()
    assert not dev1.host.domains[vm.fqdn].read_only
    assert any("ann" in argv for _, argv in dev1.shell.asked)  # admitted to the engineer's account


def test_its_snapshots_come_back_with_it(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    dev1.write("dev1", "home/note", "changed since")
    destroy(dev1)
    recover(dev1)
    assert dev1.read("dev1", "home/note") == "changed since"
    snapshots.restore_snapshot(dev1.services, "dev1", "before", dev1.run("snapshot restore"))
    assert dev1.read("dev1", "home/note") == "mine"


def test_another_vm_of_the_name_does_not_get_them(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    destroy(dev1)
    dev1.create()
    assert snapshots.list_snapshots(dev1.services, "dev1") == []


def test_with_two_of_a_name_the_one_destroyed_last_comes_back(dev1):
    first = destroy(dev1).kept
    saved_states.change_kept(dev1.services, replace(first, kept_at=LONG_AGO))
    dev1.create()
    dev1.write("dev1", "home/note", "second")
    destroy(dev1)
    assert len(trash.items(dev1.services, "dev1")) == 2
    recover(dev1)
    assert dev1.read("dev1", "home/note") == "second"
    recover(dev1, identifier=first.id)
    assert dev1.read("dev1", "home/note") == "mine"
    (left,) = trash.items(dev1.services, "dev1")
    assert left.label == "before going back to destroyed"


def test_what_was_destroyed_comes_before_an_earlier_state(dev1):
    do_rebuild(dev1)
    destroy(dev1)
    for kept in trash.items(dev1.services):
        if not kept.destroyed:
            saved_states.change_kept(
                dev1.services, replace(kept, kept_at="2999-01-01T00:00:00+00:00")
            )
    recover(dev1)
    assert dev1.vm().metadata.generation == 2


def test_an_earlier_state_takes_the_place_of_the_vm_when_it_is_named(dev1):
    old = dev1.vm()
    do_rebuild(dev1)
    dev1.write("dev1", "home/note", "since")
    (kept,) = trash.items(dev1.services, "dev1")
    found = recover(dev1, identifier=kept.id)
    assert found.vm.metadata == replace(old.metadata, generation=2)
    assert found.vm.state is VmState.RUNNING
    assert dev1.read("dev1", "home/note") == "mine"
    (now,) = trash.items(dev1.services, "dev1")
    assert now.label == f"before going back to {kept.label}"
    recover(dev1, identifier=now.id)
    assert dev1.read("dev1", "home/note") == "since"


def test_a_vm_that_is_there_is_not_written_over_by_default(dev1):
    with pytest.raises(ExistsError) as caught:
        recover(dev1)
    assert caught.value.resolution == "devvm ssh dev1"
    do_rebuild(dev1)
    with pytest.raises(ExistsError) as caught:
        recover(dev1)
    assert "devvm recover dev1 --item ID" in caught.value.resolution


def test_the_name_is_taken_by_somebody_else_s_domain(dev1):
    destroy(dev1)
    dev1.foreign("dev1.devvm.test")
    before = dev1.picture()
    with pytest.raises(ExistsError, match="devvm did not make"):
        recover(dev1)
    assert dev1.picture() == before


def test_nothing_in_the_trash(dev1):
    for call in (
        lambda: recover(dev1, "dev2"),
        lambda: recover(dev1, identifier="ffffffff"),
        lambda: trash.show(dev1.services, "dev2"),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_a_failure_leaves_it_in_the_trash(dev1):
    destroy(dev1)
    before = dev1.picture()
    dev1.host.fail_at, dev1.host.failure = "define_vm", OperationError("broken")
    with pytest.raises(OperationError, match="broken"):
        recover(dev1)
    assert dev1.picture() == before
    dev1.again()
    recover(dev1)
    assert dev1.read("dev1", "home/note") == "mine"


def test_one_that_does_not_come_up_is_out_of_the_trash_and_can_be_looked_at(dev1):
    destroy(dev1)
    dev1.host.fail_at, dev1.host.failure = "wait", OperationError("no answer")
    with pytest.raises(OperationError, match="no answer"):
        recover(dev1)
    assert dev1.vm() is not None
    assert trash.items(dev1.services) == []
    assert dev1.state.journal("dev1") is None


def test_remnants_are_destroyed_too_and_say_that_they_are_disks_only(dev1):
    vm = dev1.vm()
    dev1.host.domains.pop(vm.fqdn)
    (dev1.state.vm("dev1") / "domain.xml").unlink()
    assert lifecycle.get(dev1.machine()).state is VmState.MISSING
    kept = destroy(dev1).kept
    assert not kept.whole
    assert {disk.path for disk in kept.disks} == {disk.path for disk in vm.disks}
    with pytest.raises(UsageError, match="only disks") as caught:
        recover(dev1)
    assert str(vm.data) in caught.value.details
    dev1.create()  # the name is free


def test_a_vm_whose_domain_was_deleted_is_destroyed_whole(dev1):
    vm = dev1.vm()
    dev1.host.domains.pop(vm.fqdn)
    assert destroy(dev1).kept.whole
    assert recover(dev1).vm.uuid == vm.uuid


def test_a_vm_whose_domain_was_deleted_is_recovered(dev1):
    vm = dev1.vm()
    dev1.host.domains.pop(vm.fqdn)
    assert recover(dev1).vm == vm
    assert dev1.read("dev1", "home/note") == "mine"
    assert any("had been deleted" in note for note in dev1.reporter.notes)


def test_a_folder_alone_is_forgotten(dev1):
    (dev1.state.vms / "dev2").mkdir()
    found = destroy(dev1, "dev2")
    assert found.kept is None
    assert dev1.state.names() == ["dev1"]


def test_what_create_kept_for_a_look_can_be_destroyed_whatever_it_was(tmp_path):
    for step in ("reserve_lease", "make_data_disk", "define", "boot", "set_metadata", "verify"):
        world = World(tmp_path / step)
        world.host.fail_at, world.host.failure = step, OperationError("broken")
        with pytest.raises(OperationError):
            world.create(keep=True)
        world.again()
        if world.vm() is not None:  # without a domain there is nothing to look at, so it was undone
            destroy(world, purge=True)
        assert world.remnants("dev1") == [], step
        assert create.create(
            world.services, create.CreateRequest(name="dev1", engineer=ANN), world.run("create")
        ).vm.metadata.ready


def test_empty_deletes_what_was_named_and_only_that(dev1):
    do_rebuild(dev1)
    do_rebuild(dev1)
    first, second = trash.items(dev1.services, "dev1")
    removed = trash.empty(dev1.services, [first], dev1.run("trash empty"))
    assert trash.items(dev1.services) == [second]
    assert first.disks[0].path.name in removed
    assert dev1.read("dev1", "home/note") == "mine"
    assert dev1.unused() == []
    trash.empty(dev1.services, [first, second], dev1.run("trash empty"))
    assert trash.items(dev1.services) == []
    assert dev1.read("dev1", "home/note") == "mine"
    assert dev1.unused() == []


def test_empty_of_a_destroyed_vm_takes_its_snapshots(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    kept = destroy(dev1).kept
    trash.empty(dev1.services, [kept], dev1.run("trash empty"))
    assert dev1.remnants("dev1") == []


def test_empty_leaves_what_a_clone_needs(dev1):
    from devvm.operations.vm import clone

    clone.clone(dev1.services, "dev1", "dev2", dev1.run("clone dev1"))
    destroy(dev1, purge=True)
    assert dev1.read("dev2", "home/note") == "mine"
    assert saved_states.lost_volumes(dev1.machine()) == []
    dev1.create()


def test_what_has_expired_goes_with_the_next_command_on_the_vm(dev1):
    do_rebuild(dev1)
    destroy(dev1)
    expire(dev1)
    dev1.create()
    destroy(dev1)
    (left,) = trash.items(dev1.services)
    assert left.destroyed
    assert left.expires_at != LONG_AGO
    assert dev1.unused() == []


def test_expired_snapshots_there_are_none(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    do_rebuild(dev1)
    assert len(saved_states.of_vm(dev1.machine(), Purpose.SNAPSHOT)) == 1


def test_what_expired_of_one_vm_goes_with_a_command_on_another(dev1):
    destroy(dev1)
    expire(dev1)
    dev1.create("dev2")
    destroy(dev1, name="dev2")
    assert [kept.vm.name for kept in trash.items(dev1.services)] == ["dev2"]
    assert dev1.unused() == []


def test_what_expired_of_a_vm_that_somebody_works_on_is_left(dev1):
    destroy(dev1)
    expire(dev1)
    dev1.create("dev2")
    with dev1.state.lock("dev1", "recover dev1"):
        destroy(dev1, name="dev2")
    assert [kept.vm.name for kept in trash.items(dev1.services)] == ["dev1", "dev2"]


def test_a_purge_that_was_killed_leaves_disks_that_the_next_destroy_deletes(dev1):
    dev1.host.fail_at, dev1.host.failure = "remove_volume", Killed()
    with pytest.raises(Killed):
        destroy(dev1, purge=True)
    dev1.again()
    destroy(dev1, purge=True)
    assert dev1.remnants("dev1") == []


def test_an_unused_volume_of_another_vm_is_none_of_our_business(dev1):
    dev1.host.volumes["dev10.devvm.test-data.0a.qcow2"] = Layer()
    destroy(dev1, purge=True)
    assert dev1.unused() == ["dev10.devvm.test-data.0a.qcow2"]
