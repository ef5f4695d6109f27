"""The storage pool, on libvirt's own test driver."""

from pathlib import Path

import pytest

from devvm.adapters.libvirt.storage import Storage, pool_xml, volume_xml
from devvm.domain.errors import HostNotReadyError
from tests.support.libvirt_node import connect


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


def test_volumes_and_what_they_lie_on(connection, storage):
    box = add(connection, "box.img")
    add(connection, "dev1.img", backing=box)
    found = {volume.name: volume.below for volume in storage.volumes()}
    assert found == {"box.img": None, "dev1.img": Path(box)}


def test_a_layer_is_as_large_as_what_it_lies_on_or_as_it_is_told(connection, storage):
    box = Path(add(connection, "box.img"))
    size, _ = storage.size(box)
    assert storage.size(storage.layer("a.qcow2", box))[0] == size
    assert storage.size(storage.layer("a.qcow2", box, 2 * size))[0] == 2 * size
    assert [v.below for v in storage.volumes() if v.name == "a.qcow2"] == [box]


def test_a_volume_that_is_gone_has_no_size(storage, connection):
    assert storage.size(Path("/nowhere/x.img")) == (0, 0)


def test_before_the_pool_is_made_the_space_is_that_of_its_place(connection, tmp_path):
    storage = Storage(connection, "devvm", tmp_path / "not" / "there" / "yet")
    assert storage.free_bytes() > 0
    assert storage.volumes() == []
    assert not storage.exists("x")
