"""The storage pool, on libvirt's own test driver."""

from pathlib import Path

import pytest

from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.network import Network
from devvm.adapters.libvirt.volumes import Volumes, pool_xml, volume_xml
from devvm.config import Config
from devvm.domain.errors import HostNotReadyError
from tests.support.libvirt_node import connect


@pytest.fixture
def connection(tmp_path):
    return connect(tmp_path)


def volumes_in(connection, pool_path):
    config = Config(pool_path=pool_path)
    domains = Domains(connection, config, Network(connection, config.network))
    return Volumes(connection, config, domains)


@pytest.fixture
def volumes(connection, tmp_path):
    made = volumes_in(connection, tmp_path / "pool")
    made.ensure()
    return made


def add(connection, name, backing=None):
    pool = connection.get().storagePoolLookupByName("devvm")
    xml = volume_xml(name, 4096, mode="0600")
    if backing:
        below = f"<backingStore><path>{backing}</path><format type='qcow2'/></backingStore>"
        xml = xml.replace("</volume>", f"{below}</volume>")
    return pool.createXML(xml).path()


def test_ensure_makes_it_once_and_starts_it_again(connection, volumes):
    volumes.ensure()
    (pool,) = connection.get().listAllStoragePools()
    assert pool.isActive()
    assert pool.autostart()
    pool.destroy()
    volumes.ensure()
    assert pool.isActive()


def test_another_pool_of_the_name_is_left_alone(connection, tmp_path):
    connection.get().storagePoolDefineXML(pool_xml("devvm", Path("/somewhere/else")))
    with pytest.raises(HostNotReadyError, match="another storage pool") as caught:
        volumes_in(connection, tmp_path / "pool").ensure()
    assert "/somewhere/else" in caught.value.details
    assert "pool_path" in caught.value.resolution


def test_volumes_come_and_go(connection, volumes):
    assert not volumes.exists("dev1.devvm.test-data.qcow2")
    add(connection, "dev1.devvm.test-data.qcow2")
    assert volumes.exists("dev1.devvm.test-data.qcow2")
    volumes.remove("dev1.devvm.test-data.qcow2")
    volumes.remove("dev1.devvm.test-data.qcow2")
    assert not volumes.exists("dev1.devvm.test-data.qcow2")


def test_volumes_and_what_they_lie_on(connection, volumes):
    box = add(connection, "box.img")
    add(connection, "dev1.img", backing=box)
    found = {volume.name: volume.below for volume in volumes.all()}
    assert found == {"box.img": None, "dev1.img": Path(box)}


def test_a_layer_is_as_large_as_what_it_lies_on_or_as_it_is_told(connection, volumes):
    box = Path(add(connection, "box.img"))
    size, _ = volumes.size(box)
    assert volumes.size(volumes.layer("a.qcow2", box))[0] == size
    assert volumes.size(volumes.layer("a.qcow2", box, 2 * size))[0] == 2 * size
    assert [v.below for v in volumes.all() if v.name == "a.qcow2"] == [box]


def test_a_volume_that_is_gone_has_no_size(volumes, connection):
    assert volumes.size(Path("/nowhere/x.img")) == (0, 0)


def test_before_the_pool_is_made_the_space_is_that_of_its_place(connection, tmp_path):
    volumes = volumes_in(connection, tmp_path / "not" / "there" / "yet")
    assert volumes.free_bytes() > 0
    assert volumes.all() == []
    assert not volumes.exists("x")
