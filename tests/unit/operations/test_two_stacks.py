"""A host with VMs of two stacks: each stays with its own."""

from dataclasses import replace
from datetime import date

import pytest

from devvm.domain.errors import NotFoundError, UsageError
from devvm.domain.release.age import behind
from devvm.domain.rollout.plan import Terms
from devvm.operations.pool import sizes
from devvm.operations.release import releases
from devvm.operations.rollout import plan
from devvm.operations.update import update
from devvm.operations.vm import rebuild
from tests.support.fleet_world import NEW, FleetWorld
from tests.support.world import RELEASE

#: A release of the stack that the working tree is of, newer than those of the other one.
SHOP = "2026.11.28-5555aaaa5555"
#: The working tree's stack.
ABOUT = "about"
TODAY = date(2026, 11, 30)


@pytest.fixture
def world(tmp_path):
    """dev001 and dev002 are the shop's; the working tree and dev003 are of the reference stack."""
    made = FleetWorld(tmp_path)
    made.add(SHOP, {"roles/shop/tasks/main.yml": b"- x\n"})
    records = made.releases.records
    for name, stack in ((RELEASE, ABOUT), (NEW, ABOUT), (SHOP, "shop")):
        records[name] = replace(records[name], stack=stack)
        made.boxes.boxes = [
            replace(box, stack=stack) if box.release == name else box for box in made.boxes.boxes
        ]
    made.fleet(3)
    for name in ("dev001", "dev002"):
        of_the_shop(made, name)
    facts(made, "dev003", release=RELEASE, stack=ABOUT)
    return made


def facts(world, name, **changed):
    vm = next(vm for vm in world.services.domains.vms() if vm.name == name)
    world.services.domains.set_metadata(vm.uuid, replace(vm.metadata, **changed))


def of_the_shop(world, name):
    facts(world, name, release="2026.11.01-5555bbbb5555", stack="shop")


def planned(world, release, **terms):
    asked = Terms(release=release, **terms)
    return [vm.name for vm in plan.make(world.services, asked, by="ann", today=TODAY)[1]]


def test_a_rollout_goes_to_the_vms_of_its_releases_stack(world):
    assert planned(world, SHOP) == ["dev001", "dev002"]
    assert planned(world, NEW) == ["dev003"]


def test_a_vm_of_another_stack_that_is_named_is_refused(world):
    with pytest.raises(UsageError, match=r"dev003 is a VM of the stack about, and .* shop"):
        planned(world, SHOP, only=("dev001", "dev003"))


def test_a_vm_whose_stack_is_not_known_is_taken_along(world):
    facts(world, "dev003", stack="")
    assert planned(world, SHOP) == ["dev001", "dev002", "dev003"]


def test_there_may_be_no_vm_of_the_stack(world):
    for name in ("dev001", "dev002"):
        facts(world, name, stack=ABOUT)
    with pytest.raises(UsageError, match="there are no VMs of the stack shop"):
        planned(world, SHOP)


def test_no_vm_is_updated_to_a_release_of_another_stack(world):
    request = update.UpdateRequest(name="dev003", release=SHOP)
    with pytest.raises(UsageError, match="a release of the stack shop") as error:
        update.update(world.services, request, world.run("update dev003"))
    assert "--stack" in error.value.resolution


def test_no_vm_is_rebuilt_on_a_box_of_another_stack(world):
    owner = world.services.domains.vms()[0].known.owner
    request = rebuild.RebuildRequest(name="dev001", engineer=owner, release=NEW)
    before = world.services.domains.vms()
    with pytest.raises(UsageError, match="dev001 is a VM of the stack shop"):
        rebuild.rebuild(world.services, request, world.run("rebuild dev001"))
    assert world.services.domains.vms() == before


def test_latest_is_the_newest_of_the_working_trees_stack(world):
    assert releases.find(world.services, "latest").release == NEW
    for name in (RELEASE, NEW):
        world.releases.records[name] = replace(world.releases.records[name], stack="shop")
    with pytest.raises(NotFoundError, match="no current release of the stack about"):
        releases.find(world.services, "latest")


def test_a_vm_is_behind_releases_of_its_own_stack_only(world):
    on_record = world.releases.list()
    assert on_record[0].release == SHOP
    assert behind(NEW, on_record) == 0
    assert behind(RELEASE, on_record) == 1
    assert behind(SHOP, on_record) == 0


def test_the_pools_newest_box_is_the_working_trees_stacks(world):
    sizes.set_size(world.services, sizes.NEWEST, 2)
    world.boxes.boxes.sort(key=lambda box: box.release != SHOP)
    (release,) = sizes.wanted(world.services)
    assert release != SHOP
