"""A box's image: intact wherever it is needed; replaced if it is damaged."""

import pytest

from devvm.domain.errors import OperationError
from devvm.operations.storage import base_image
from tests.support.memory_host import Layer
from tests.support.world import POOL, World

GOOD, BAD = "1" * 64, "bad"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def place(world):
    return base_image.place(world.services, world.box, world.run("create dev1"))


def volume(world):
    return world.host.volumes[f"box-{world.box.release}.img"]


def test_it_is_put_with_vagrant_and_into_the_pool_once(world):
    path = place(world)
    assert path == POOL / f"box-{world.box.release}.img"
    assert volume(world).sha256 == GOOD
    assert world.host.calls == ["ensure_pool", "add_box", "upload_box"]
    world.again()
    assert place(world) == path
    assert "add_box" not in world.host.calls
    assert volume(world).sha256 == GOOD


def test_a_damaged_volume_under_vms_is_mended_in_its_place(world):
    world.create()
    root = world.vm().root
    volume(world).sha256 = BAD
    assert "differs from the image in the box" in base_image.damage(world.services, world.box)
    place(world)
    assert volume(world).sha256 == GOOD
    assert world.host.volumes[root.name].below == POOL / f"box-{world.box.release}.img"
    assert "remove_volume" not in world.host.calls
    assert any("writing it again" in note for note in world.reporter.notes)
    assert base_image.damage(world.services, world.box) is None


def test_a_damaged_volume_that_nobody_uses_is_made_anew(world):
    place(world)
    world.again()
    volume(world).sha256 = BAD
    place(world)
    assert volume(world).sha256 == GOOD
    assert world.host.calls.count("remove_volume") == 1
    assert world.reporter.notes == []


def test_a_volume_that_is_gone_is_put_there_again(world):
    world.create()
    world.host.volumes.pop(f"box-{world.box.release}.img")
    place(world)
    assert volume(world).sha256 == GOOD


def test_vagrants_damaged_copy_is_not_spread(world):
    world.services.vagrant.add_box(world.box, None)
    image = world.services.vagrant.image(world.box)
    world.boxes.files[image] = BAD
    add_box = world.services.vagrant.add_box

    def repaired(box, detail):
        add_box(box, detail)
        world.boxes.files.pop(image)

    world.services.vagrant.add_box = repaired
    world.again()
    place(world)
    assert [c for c in world.host.calls if c.endswith("_box")] == [
        "remove_box", "add_box", "upload_box",
    ]  # fmt: skip
    assert volume(world).sha256 == GOOD
    assert any("Vagrant's copy" in note for note in world.reporter.notes)


def test_a_damaged_box_is_said_and_spreads_nowhere(world):
    world.boxes.damaged[world.box.release] = "one flipped byte"
    with pytest.raises(OperationError, match="is damaged") as caught:
        place(world)
    assert caught.value.details == "one flipped byte"
    assert caught.value.resolution == "build it again: sudo devvm box build --force"
    assert world.host.added_boxes == set()
    assert world.host.volumes == {}


def test_a_damaged_box_stops_no_vm_whose_image_is_good(world):
    place(world)
    world.boxes.damaged[world.box.release] = "one flipped byte"
    world.create()
    assert world.vm().metadata.ready


def test_a_damaged_box_and_a_damaged_copy_leave_a_damaged_volume_alone(world):
    world.create()
    volume(world).sha256 = BAD
    world.boxes.damaged[world.box.release] = "one flipped byte"
    world.boxes.files[world.services.vagrant.image(world.box)] = BAD
    with pytest.raises(OperationError, match="is damaged"):
        place(world)
    assert volume(world).sha256 == BAD


def test_damage_matters_only_under_vms(world):
    assert base_image.damage(world.services, world.box) is None
    place(world)
    volume(world).sha256 = BAD
    assert base_image.damage(world.services, world.box) is None


def test_a_volume_that_is_shorter_than_its_image_is_no_image(world):
    world.host.volumes[f"box-{world.box.release}.img"] = Layer(sha256="of half of it")
    place(world)
    assert volume(world).sha256 == GOOD
