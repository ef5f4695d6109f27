"""resize: enlarges, at once if the VM runs; never shrinks."""

import pytest

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import LockedError, NotFoundError, OperationError, UsageError
from devvm.domain.vm import VmState
from devvm.operations.vm import lifecycle, resize, snapshots
from tests.support.world import GIB, Killed, World


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.shell.asked.clear()
    return world


def do(world, gib=40, name="dev1"):
    return resize.resize(world.services, name, gib, world.run(f"resize {name}"))


def size(world, role=DATA):
    disks = world.services.disks.of("dev1.devvm.test")
    return next(disk.size_bytes for disk in disks if disk.role == role) / GIB


def test_a_running_vm_has_more_room_at_once(dev1):
    root = size(dev1, ROOT)
    disk = do(dev1)
    assert (disk.role, disk.size_bytes) == (DATA, 40 * GIB)
    assert size(dev1, ROOT) == root
    assert dev1.shell.asked == [("dev1-vagrant", ["sudo", "sh", "-s"])]
    assert dev1.state.journal("dev1") is None
    assert dev1.state.runs("dev1")[-1].command == "resize dev1"


def test_one_that_is_off_has_it_when_it_starts(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    dev1.shell.asked.clear()
    do(dev1)
    assert size(dev1) == 40
    assert dev1.shell.asked == []
    assert dev1.vm().state is VmState.SHUTOFF


def test_the_same_size_again_lets_the_file_system_catch_up(dev1):
    do(dev1)
    dev1.again()
    dev1.shell.asked.clear()
    do(dev1)
    assert "resize_disk" not in dev1.host.calls
    assert len(dev1.shell.asked) == 1


@pytest.mark.parametrize("gib", [1, 19])
def test_it_is_never_made_smaller(dev1, gib):
    with pytest.raises(UsageError, match="has 20 GiB") as caught:
        do(dev1, gib)
    assert caught.value.resolution == "devvm resize dev1 --data 21G"
    assert size(dev1) == 20
    assert dev1.state.journal("dev1") is None


def test_a_failure_is_said_and_can_be_typed_again(dev1):
    dev1.host.fail_at, dev1.host.failure = "shell", OperationError("resize2fs failed")
    with pytest.raises(OperationError, match="resize2fs failed"):
        do(dev1)
    assert dev1.state.journal("dev1") is None
    dev1.again()
    dev1.shell.asked.clear()
    do(dev1)
    assert size(dev1) == 40
    assert len(dev1.shell.asked) == 1


def test_killed_and_typed_again(dev1):
    dev1.host.fail_at, dev1.host.failure = "resize_disk", Killed()
    with pytest.raises(Killed):
        do(dev1)
    dev1.again()
    assert do(dev1).size_bytes == 40 * GIB


def test_a_snapshot_keeps_the_size_that_it_had(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    do(dev1)
    snapshots.restore_snapshot(dev1.services, "dev1", "before", dev1.run("snapshot restore dev1"))
    assert size(dev1) == 20
    assert do(dev1).size_bytes == 40 * GIB


def test_there_is_no_such_vm_or_somebody_changes_it(dev1):
    with pytest.raises(NotFoundError):
        do(dev1, name="dev2")
    assert dev1.state.names() == ["dev1"]
    with dev1.state.lock("dev1", "another"), pytest.raises(LockedError):
        do(dev1)
