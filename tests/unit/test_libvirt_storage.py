"""The storage pool, on libvirt's own test driver."""

from pathlib import Path

import pytest
from libvirt_node import connect

from devvm.adapters.libvirt.storage import Storage, pool_xml, volume_xml
from devvm.errors import HostNotReadyError


@pytest.fixture
def connection(tmp_path):
    return connect(tmp_path)


@pytest.fixture
def storage(connection, tmp_path):
    made = Storage(connection, "devvm", tmp_path / "pool")
    made.ensure()
    return made


def add(connection, name, backing=None):
    pool = connection.get().storagePoolLookupByName("devvm")
    xml = volume_xml(name, 4096, mode="0600")
    if backing:
        below = f"<backingStore><path>{backing}</path><format type='qcow2'/></backingStore>"
        xml = xml.replace("</volume>", f"{below}</volume>")
    return pool.createXML(xml).path()


def test_ensure_makes_it_once_and_starts_it_again(connection, storage):
    storage.ensure()
    (pool,) = connection.get().listAllStoragePools()
    assert pool.isActive()
    assert pool.autostart()
    pool.destroy()
    storage.ensure()
    assert pool.isActive()


def test_another_pool_of_the_name_is_left_alone(connection, tmp_path):
    connection.get().storagePoolDefineXML(pool_xml("devvm", Path("/somewhere/else")))
    with pytest.raises(HostNotReadyError, match="another storage pool") as caught:
        Storage(connection, "devvm", tmp_path / "pool").ensure()
    assert "/somewhere/else" in caught.value.details
    assert "pool_path" in caught.value.resolution


def test_volumes_come_and_go(connection, storage):
    assert not storage.exists("dev1.devvm.test-data.qcow2")
    add(connection, "dev1.devvm.test-data.qcow2")
    assert storage.exists("dev1.devvm.test-data.qcow2")
    storage.remove("dev1.devvm.test-data.qcow2")
    storage.remove("dev1.devvm.test-data.qcow2")
    assert not storage.exists("dev1.devvm.test-data.qcow2")


def test_only_the_volumes_of_one_vm_are_its_own(connection, storage):
    for name in ("dev1.x.img", "dev1.x-data.qcow2", "dev10.x.img", "dev1.xy-data.qcow2"):
        add(connection, name)
    assert storage.names(("dev1.x.img", "dev1.x-")) == ["dev1.x-data.qcow2", "dev1.x.img"]


def test_a_volume_and_all_that_is_based_on_it(connection, storage):
    box = add(connection, "box.img")
    root = add(connection, "dev1.img", backing=box)
    snapshot = add(connection, "dev1-snap.img", backing=root)
    add(connection, "other.img")
    assert storage.overlays("box.img") == {box, root, snapshot}
    assert storage.overlays("nothing.img") == set()


def test_before_the_pool_is_made_the_space_is_that_of_its_place(connection, tmp_path):
    storage = Storage(connection, "devvm", tmp_path / "not" / "there" / "yet")
    assert storage.free_bytes() > 0
    assert storage.names(("x",)) == []
    assert not storage.exists("x")
