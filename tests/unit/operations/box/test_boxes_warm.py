"""A build makes a warm box too, where there is room; it goes with its box."""

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.operations.box import boxes
from devvm.operations.pool import pool, sizes
from devvm.operations.storage import frozen
from devvm.operations.vm import create
from tests.support.world import ANN
from tests.unit.operations.box.building import GIB, build, leftovers


def test_a_build_makes_it_and_removing_the_box_removes_it(world):
    made = build(world)
    assert boxes.warm_box(world.services, made) is not None
    boxes.remove(world.services, world.tools, made.release, world.run("box remove"))
    assert leftovers(world) == []


def test_it_is_removed_with_its_spares(world):
    made = build(world)
    sizes.set_size(world.services, sizes.NEWEST, 1)
    pool.fill(world.services, world.run("pool fill"))
    assert len(frozen.spares(world.services)) == 1
    boxes.remove(world.services, world.tools, made.release, world.run("box remove"))
    assert frozen.spares(world.services) == []
    assert pool.look(world.services).right
    assert leftovers(world) == []


def test_a_box_is_not_removed_under_vms_that_were_restored(world):
    made = build(world)
    request = create.CreateRequest(name="dev1", engineer=ANN)
    create.create(world.services, request, world.run("create dev1"))
    with pytest.raises(UsageError, match="VMs or saved states need it") as caught:
        boxes.remove(world.services, world.tools, made.release, world.run("box remove"))
    assert caught.value.resolution == "devvm destroy dev1"
    assert boxes.warm_box(world.services, made) is not None


def test_without_room_the_box_is_built_and_it_says_so(world):
    world.host.free = 5 * GIB
    made = build(world)
    assert boxes.warm_box(world.services, made) is None
    assert any(note.startswith("No warm box is made") for note in world.reporter.notes)


@pytest.mark.parametrize("step", ["agent_freeze", "save_memory"])
def test_a_box_is_good_without_one(world, step):
    world.host.fail_at, world.host.failure = step, OperationError("broken", details="why")
    made = build(world)
    assert boxes.list_boxes(world.services) == [made]
    assert frozen.warm_box(world.services, made.release) is None
    assert "There is no warm box: why" in world.reporter.notes
    assert world.unused() == []


def test_a_box_that_is_built_again_has_a_new_one(world):
    old = boxes.warm_box(world.services, build(world))
    new = boxes.warm_box(world.services, build(world, force=True))
    assert old.id != new.id
    assert len(frozen.warm_boxes(world.services, new.vm.release)) == 1
