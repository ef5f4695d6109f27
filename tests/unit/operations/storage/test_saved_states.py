"""Layers and saved states: what is saved, what is needed, what is garbage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from devvm.adapters.libvirt import definition
from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import Purpose
from devvm.operations.core import naming
from devvm.operations.provision import repair
from devvm.operations.storage import saved_states
from devvm.operations.vm import lifecycle
from tests.support.memory_host import Layer
from tests.support.world import POOL, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def dev1(world):
    world.create()
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    world.again()
    return world


def keep(world, token="0a1b2c3d", purpose=Purpose.TRASH, **more):
    return saved_states.keep(
        world.services, world.vm(), token=token, purpose=purpose, label="a label", **more
    )


def test_a_kept_state_is_a_domain_that_never_runs(dev1):
    vm = dev1.vm()
    keep(dev1)
    domain = dev1.host.domains["dev1.devvm.test@0a1b2c3d"]
    assert domain.read_only
    assert domain.disks == vm.disks
    assert domain.uuid != vm.uuid
    assert domain.title == "devvm dev1, in the trash: a label; not to be started"
    kept = saved_states.find(dev1.services, "0a1b2c3d")
    assert (kept.uuid, kept.mac, kept.vm, kept.disks) == (
        vm.uuid, vm.mac, vm.metadata, vm.disks,
    )  # fmt: skip
    assert dev1.vm() == vm
    assert lifecycle.list_vms(dev1.services) == [vm]


def test_keeping_twice_keeps_once(dev1):
    keep(dev1)
    before = dev1.picture()
    keep(dev1)
    assert dev1.picture() == before


def test_only_the_trash_expires_and_by_the_setting(dev1):
    keep(dev1)
    keep(dev1, token="11111111", purpose=Purpose.SNAPSHOT)
    trash = saved_states.find(dev1.services, "0a1b2c3d")
    left = datetime.fromisoformat(trash.expires_at) - datetime.now(UTC)
    assert timedelta(days=13, hours=23) < left <= timedelta(days=14)
    assert saved_states.find(dev1.services, "11111111").expires_at is None


def test_a_state_may_be_kept_of_disks_that_the_vm_has_no_more(dev1):
    below = POOL / "dev1.devvm.test-data.old.qcow2"
    dev1.host.volumes[below.name] = Layer()
    keep(dev1, disks={DATA: below})
    kept = saved_states.find(dev1.services, "0a1b2c3d")
    assert {d.role: d.path for d in kept.disks} == {DATA: below, ROOT: dev1.vm().root}


def test_to_the_trash_and_out_of_it(dev1):
    keep(dev1, purpose=Purpose.PREVIOUS)
    kept = saved_states.find(dev1.services, "0a1b2c3d")
    saved_states.to_trash(dev1.services, kept, "another label")
    (now,) = saved_states.of_vm(dev1.machine(), Purpose.TRASH)
    assert now.expires_at
    assert replace(now, expires_at=None) == replace(
        kept, purpose=Purpose.TRASH, label="another label"
    )
    assert "another label" in dev1.host.domains["dev1.devvm.test@0a1b2c3d"].title
    saved_states.delete(dev1.services, now)
    assert saved_states.find(dev1.services, "0a1b2c3d") is None
    assert dev1.unused() == []


def test_layers_and_what_is_under_them(dev1):
    vm = dev1.vm()
    on_top = saved_states.put_layers(dev1.services, vm.fqdn, vm.disks, "0a1b2c3d")
    assert {role: path.name for role, path in on_top.items()} == {
        ROOT: "dev1.devvm.test-root.0a1b2c3d.qcow2",
        DATA: "dev1.devvm.test-data.0a1b2c3d.qcow2",
    }
    disk = DomainDisk(device="vdb", role=DATA, path=on_top[DATA])
    assert saved_states.layers_under(dev1.services, [disk]) == {on_top[DATA], vm.data}
    assert sorted(saved_states.delete_created_by(dev1.machine(), "0a1b2c3d")) == sorted(
        path.name for path in on_top.values()
    )


def test_a_new_root_is_as_large_as_the_old_one_and_never_smaller_than_its_image(dev1):
    vm = dev1.vm()
    image = dev1.host.volumes[vm.root.name].below
    dev1.host.volumes[vm.root.name].size = 30 * 1024**3
    for old, size in ((vm.root, 30), (None, 20), (POOL / "gone", 20)):
        made = saved_states.put_root(dev1.services, vm.fqdn, image, "0a1b2c3d", old)
        assert dev1.host.volumes[made[ROOT].name].size == size * 1024**3


def test_only_what_no_domain_needs_is_released(dev1):
    vm = dev1.vm()
    layer = saved_states.put_layers(dev1.services, vm.fqdn, vm.disks, "0a1b2c3d")[DATA]
    assert saved_states.release(dev1.services, [layer, vm.data, vm.root]) == [layer.name]
    assert vm.data.name in dev1.host.volumes
    with pytest.raises(OperationError, match="in use"):
        dev1.services.volumes.remove(vm.data.name)


def test_release_takes_another_vms_volumes_never(dev1):
    for name in ("dev1.devvm.test-data.0a.qcow2", "dev10.devvm.test-data.0a.qcow2"):
        dev1.host.volumes[name] = Layer()
    assert saved_states.delete_created_by(dev1.machine(), "0a") == ["dev1.devvm.test-data.0a.qcow2"]
    assert dev1.unused() == ["dev10.devvm.test-data.0a.qcow2"]


def test_lost_volumes_are_the_newest_layers(dev1):
    vm = dev1.vm()
    assert saved_states.lost_volumes(dev1.machine()) == []
    top = saved_states.put_layers(dev1.services, vm.fqdn, vm.disks, "0a1b2c3d")
    dev1.services.domains.undefine(vm.fqdn)
    lost = saved_states.lost_volumes(dev1.machine())
    assert {disk.role: disk.path for disk in lost} == top
    assert len({disk.device for disk in lost}) == len(lost)


def test_volumes_without_a_vm_are_put_into_the_trash_once(dev1):
    vm = dev1.vm()
    dev1.services.domains.undefine(vm.fqdn)
    lost = tuple(saved_states.lost_volumes(dev1.machine()))
    for _ in range(2):
        saved_states.keep_volumes(dev1.services, repair.unknown("dev1"), lost, "0a1b2c3d")
    (kept,) = saved_states.of_vm(dev1.machine(), Purpose.TRASH)
    assert not kept.whole
    assert not kept.destroyed
    assert {disk.path for disk in kept.disks} == {vm.root, vm.data}
    assert dev1.unused() == []


def test_lost_volumes_are_still_known_for_what_they_are_once_libvirt_has_them(dev1):
    vm = dev1.vm()
    data = [disk for disk in vm.disks if disk.role == DATA]
    for token in ("11111111", "22222222"):  # the data disk has many layers, the root one
        top = saved_states.put_layers(dev1.services, vm.fqdn, data, token)
        data = [replace(data[0], path=top[DATA])]
    dev1.services.domains.undefine(vm.fqdn)
    lost = tuple(saved_states.lost_volumes(dev1.machine()))
    xml = definition.bare("dev1.devvm.test@0a1b2c3d", "u", lost)
    assert definition.disks(ET.fromstring(xml)) == lost


@pytest.mark.parametrize("role", [ROOT, DATA, "scratch", "my-disk"])
def test_a_volume_s_name_tells_the_role_of_its_disk(role):
    name = naming.volume_of("dev1.devvm.test", role, "0a1b2c3d")
    assert naming.role_of("dev1.devvm.test", name) == role


def test_older_volumes_have_a_role_too():
    assert naming.role_of("dev1.devvm.test", "dev1.devvm.test.img") == ROOT
    assert naming.role_of("dev1.devvm.test", "dev1.devvm.test-data.qcow2") == DATA


@pytest.mark.parametrize(
    "name",
    [
        "dev1.devvm.test", "dev1.devvm.test@0a1b2c3d", "dev1.devvm.test.img",
        "dev1.devvm.test-data.0a1b2c3d.qcow2", "dev1.devvm.test-my-disk.0a1b2c3d.qcow2",
    ],
)  # fmt: skip
def test_names_of_what_is_a_vm_s(world, name):
    assert naming.name_of(world.config, name) == "dev1"


@pytest.mark.parametrize(
    "name",
    [
        "dev1", "dev1.", "dev1.devvm", "dev1.devvm.testing", "dev1.devvm.testing-root.1.qcow2",
        "dev1.devvm.test.example", "dev1.devvm.test.example.img", "dev1.other.devvm.test",
        "devvm.test", "box-2026.11.23-1a2b3c4d5e6f.img",
    ],
)  # fmt: skip
def test_names_of_what_is_no_vm_s(world, name):
    assert naming.name_of(world.config, name) is None
