"""Garbage collection: merges unneeded layers, deletes what has expired, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import Purpose
from devvm.operations.doctor import doctor
from devvm.operations.provision import gc, repair
from devvm.operations.storage import saved_states
from devvm.operations.vm import clone, lifecycle, snapshots, trash
from tests.support.memory_host import Domain, Killed
from tests.support.world import World

LONG_AGO, ONE_DAY = "2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


@pytest.fixture
def dev1(tmp_path):
    """A VM whose data disk has three layers: `one` in the lowest, `three` in the top one."""
    world = World(tmp_path)
    world.create()
    for label in ("one", "two"):
        world.write("dev1", f"only/{label}", label)
        snapshots.create(world.services, "dev1", label, world.run("snapshot create dev1"))
    world.write("dev1", "only/three", "three")
    return world


def forget(world, *labels):
    for label in labels:
        kept = snapshots.find(world.machine(), label)
        saved_states.delete(world.services, kept)
    world.again()


def do(world):
    gc.collect(world.machine(), world.run("x"))


def depth(world, role=DATA):
    disk = next(d for d in world.vm().disks if d.role == role)
    return len(world.host.chain(disk.path))


def everything(world):
    return [world.read("dev1", f"only/{label}") for label in ("one", "two", "three")]


def test_layers_that_a_snapshot_needs_stay(dev1):
    before = dev1.picture()
    do(dev1)
    assert dev1.picture() == before


def test_layers_that_nobody_needs_are_merged_into_the_lowest(dev1):
    forget(dev1, "one", "two")
    lowest = dev1.host.chain(dev1.vm().data)[-1]
    do(dev1)
    assert dev1.vm().data == lowest
    assert depth(dev1) == 1
    assert everything(dev1) == ["one", "two", "three"]
    written_down = (dev1.state.vm("dev1") / "domain.xml").read_text()
    assert dev1.services.domains.disks_in(written_down) == dev1.vm().disks
    roots = set(dev1.host.chain(dev1.vm().root))
    assert {n for n in dev1.host.volumes if "-data." in n} == {lowest.name}
    assert set(dev1.unused()).isdisjoint(p.name for p in roots)


def test_only_those_above_what_is_needed_are(dev1):
    snapshots.create(dev1.services, "dev1", "three", dev1.run("snapshot create dev1"))
    dev1.write("dev1", "home/note", "newest")
    forget(dev1, "two", "three")
    assert depth(dev1) == 4
    do(dev1)
    assert depth(dev1) == 2
    assert everything(dev1) == ["one", "two", "three"]
    snapshots.restore_snapshot(dev1.services, "dev1", "one", dev1.run("snapshot restore dev1"))
    assert everything(dev1) == ["one", None, None]


def test_a_layer_between_two_that_are_needed_waits(dev1):
    snapshots.create(dev1.services, "dev1", "three", dev1.run("snapshot create dev1"))
    forget(dev1, "two")
    do(dev1)
    assert depth(dev1) == 4
    assert "commit_layers" not in dev1.host.calls


def test_the_root_is_one_layer_on_its_box(dev1):
    forget(dev1, "one", "two")
    image = dev1.host.chain(dev1.vm().root)[-1]
    do(dev1)
    assert dev1.host.chain(dev1.vm().root)[1:] == [image]
    assert image.name == f"box-{dev1.box.release}.img"


def test_layers_under_another_vm_stay(dev1):
    clone.clone(dev1.services, "dev1", "dev2", dev1.run("clone dev1"))
    forget(dev1, "one", "two")
    do(dev1)
    assert "commit_layers" not in dev1.host.calls
    gc.collect(dev1.machine("dev2"), dev1.run("x"))
    assert "commit_layers" not in dev1.host.calls
    assert dev1.read("dev2", "only/one") == "one"


def test_one_that_is_off_is_left_for_later(dev1):
    forget(dev1, "one", "two")
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    do(dev1)
    assert depth(dev1) == 3


def test_a_failure_is_for_later_and_said(dev1):
    forget(dev1, "one", "two")
    dev1.host.fail_at, dev1.host.failure = "commit_layers", OperationError("no space")
    do(dev1)
    assert any("put off: no space" in note for note in dev1.reporter.notes)
    dev1.again()
    do(dev1)
    assert depth(dev1) == 1


@pytest.mark.parametrize("step", ["commit_layers", "reserve_lease", "remove_volume"])
def test_killed_it_leaves_nothing_that_the_next_one_does_not_tidy(dev1, step):
    forget(dev1, "one", "two")
    dev1.host.fail_at, dev1.host.failure = step, Killed()
    with pytest.raises(Killed):
        do(dev1)
    dev1.again()
    do(dev1)
    assert depth(dev1) == 1
    assert dev1.unused() == []
    assert everything(dev1) == ["one", "two", "three"]


def test_killed_and_then_the_domain_deleted_it_is_not_guessed_which_layer_was_the_last(dev1):
    forget(dev1, "one", "two")
    dev1.host.fail_at, dev1.host.failure = "reserve_lease", Killed()
    with pytest.raises(Killed):
        do(dev1)
    dev1.again()
    del dev1.host.domains["dev1.devvm.test"]
    assert repair.redefine(dev1.machine()) is None


def test_a_layer_under_a_domain_that_devvm_did_not_make_stays(dev1):
    forget(dev1, "one", "two")
    path = dev1.host.chain(dev1.vm().data)[2]
    disks = (DomainDisk(device="vda", role=ROOT, path=path),)
    dev1.host.domains["theirs"] = Domain(name="theirs", uuid="theirs", disks=disks)
    do(dev1)
    assert depth(dev1) == 2
    assert "only/two" not in dev1.host.volumes[path.name].files


def test_a_clone_keeps_layers_that_are_named_for_another_vm(dev1):
    clone.clone(dev1.services, "dev1", "dev2", dev1.run("clone dev1"))
    trash.destroy(dev1.services, "dev1", dev1.run("destroy dev1"), purge=True)
    gc.collect(dev1.machine("dev2"), dev1.run("x"))
    assert dev1.vm("dev2").data.name.startswith("dev2.")
    assert dev1.read("dev2", "only/one") == "one"


def test_a_disk_that_is_not_in_the_pool_is_passed_over(dev1):
    forget(dev1, "one", "two")
    domain = dev1.host.domains["dev1.devvm.test"]
    theirs = DomainDisk(device="vdz", role="theirs", path=Path("/elsewhere/disk.qcow2"))
    dev1.host.domains[domain.name] = replace(domain, disks=(theirs, *domain.disks))
    do(dev1)
    assert depth(dev1) == 1


def test_a_definition_that_a_killed_merge_left_out_is_written_again(dev1):
    forget(dev1, "one", "two")
    dev1.host.fail_at, dev1.host.failure = "reserve_lease", Killed()
    with pytest.raises(Killed):
        do(dev1)
    dev1.again()
    definition = dev1.state.vm("dev1") / "domain.xml"
    assert not definition.exists()
    assert "domain.xml" in doctor.examine(dev1.services).findings[0].problem
    doctor.fix(dev1.services, dev1.run("doctor"))
    assert definition.exists()


def test_a_vm_that_is_not_there_is_no_failure(dev1):
    gc.collect(dev1.machine("dev9"), dev1.run("x"))
    assert dev1.reporter.notes == []


def put_into_trash(world, label, expires_at):
    kept = snapshots.find(world.machine(), label)
    there = replace(kept, purpose=Purpose.TRASH, expires_at=expires_at)
    saved_states.change_kept(world.services, there)


def test_what_has_expired_goes_and_what_has_not_stays(dev1):
    put_into_trash(dev1, "one", LONG_AGO)
    put_into_trash(dev1, "two", ONE_DAY)
    assert [kept.label for kept in gc.expired(dev1.services)] == ["one"]
    do(dev1)
    assert [kept.label for kept in dev1.services.domains.saved_states()] == ["two"]
    assert any("Expired, deleted for good: dev1, one" in note for note in dev1.reporter.notes)
    assert everything(dev1) == ["one", "two", "three"]
    assert dev1.unused() == []


def test_a_snapshot_never_expires_whatever_is_written_in_it(dev1):
    kept = snapshots.find(dev1.machine(), "one")
    saved_states.change_kept(dev1.services, replace(kept, expires_at=LONG_AGO))
    assert gc.expired(dev1.services) == []


def test_nothing_is_deleted_below_a_vm_whose_domain_is_lost(dev1):
    """Its disks may be all that is left of it."""
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    one = snapshots.find(dev1.machine(), "one")
    dev1.services.domains.undefine("dev1.devvm.test")
    assert gc.purge(dev1.services, one) == []


def test_purging_says_what_is_gone_and_leaves_what_is_needed(dev1):
    kept = snapshots.find(dev1.machine(), "two")
    assert gc.purge(dev1.services, kept) == []  # all of it is below the VM's layers
    assert everything(dev1) == ["one", "two", "three"]
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    one = snapshots.find(dev1.machine(), "one")
    layers = saved_states.layers_under(dev1.services, dev1.vm().disks)
    dev1.services.domains.undefine("dev1.devvm.test")
    saved_states.release(dev1.services, layers)
    assert set(gc.purge(dev1.services, one)) == {disk.path.name for disk in one.disks}
