"""Domains' disks and the volumes below them, on libvirt's own test driver."""

from pathlib import Path

import pytest

from devvm.adapters.libvirt import Libvirt
from devvm.config import Config
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import OperationError
from devvm.domain.vm import Metadata
from tests.support.libvirt_node import NODE, define

FQDN = "dev1.devvm.test"
DEV1 = Metadata(
    name="dev1", engineer="ann", release="2026.11.23-1a2b3c4d5e6f",
    created_at="2026-11-23T10:00:00+00:00",
)  # fmt: skip


@pytest.fixture
def libvirt(tmp_path):
    (tmp_path / "node.xml").write_text(NODE)
    made = Libvirt(Config(uri=f"test://{tmp_path}/node.xml", pool_path=Path("/pool")))
    made.volumes.ensure()
    box = made.volumes.layer("box.img", Path("/nowhere"), 4096)
    for name in (f"{FQDN}.img", f"{FQDN}-data.qcow2"):
        made.volumes.layer(name, box, 4096)
    domain = define(made.connection, FQDN)
    made.domains.set_metadata(domain.UUIDString(), DEV1)
    return made


def test_disks_have_the_sizes_of_their_volumes(libvirt):
    assert [(d.role, d.size_bytes) for d in libvirt.disks.of(FQDN)] == [(ROOT, 4096), (DATA, 4096)]
    assert libvirt.disks.of("nothing.devvm.test") == []


def test_new_layers_under_a_vm_that_is_off(libvirt):
    vm = libvirt.domains.vm("dev1")
    top = libvirt.volumes.layer("top", vm.root, 8192)
    assert libvirt.disks.split(vm, {ROOT: top}) == "off"
    assert [d.size_bytes for d in libvirt.disks.of(FQDN)] == [8192, 4096]


def test_what_lies_under_a_disk_is_needed(libvirt):
    assert libvirt.volumes.users_of("box.img") == [FQDN]
    with pytest.raises(OperationError, match="it is in use") as caught:
        libvirt.volumes.remove("box.img")
    assert caught.value.details == f"by {FQDN}"
    libvirt.domains.remove(FQDN)
    names = [volume.name for volume in libvirt.volumes.unused()]
    assert names == [f"{FQDN}-data.qcow2", f"{FQDN}.img"]


def test_of_several_configurations_each_sees_its_own(libvirt):
    other = Libvirt(Config(uri=libvirt.connection.uri, pool_path=Path("/other")))
    other.connection._open = libvirt.connection.get()  # the state is the connection's
    assert [vm.name for vm in libvirt.domains.vms()] == ["dev1"]
    assert other.domains.vms() == []
