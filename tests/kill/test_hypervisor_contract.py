"""What operations rely on in a libvirt host: the same tests on a real one as on the memory host."""

from pathlib import Path

import pytest

from devvm.ports import services
from tests.kill import kill_guests
from tests.kill.kill_host import Host, call, corner
from tests.kill.kill_stand_ins import domain_xml
from tests.kill.worker import fill
from tests.support.hypervisor_node import Node
from tests.support.memory_host import GIB
from tests.unit.adapters.libvirt.test_hypervisor_contract import Contract

pytestmark = pytest.mark.kill

#: The number of the corner used only by these tests.
_CORNER = 6


class LibvirtNode:
    """A corner of the tests' own libvirt host, with a small pool."""

    def __init__(self, host: Host) -> None:
        self._corner = host
        self.pool, self.domain = host.pool, host.config.network.domain
        self.host: services.Host = host.libvirt.host
        self.network: services.Network = host.libvirt.network
        self.domains: services.Domains = host.libvirt.domains
        self.volumes: services.Volumes = host.libvirt.volumes
        self.disks: services.Disks = host.libvirt.disks
        self.memory: services.Memory = host.libvirt.memory

    def clear(self) -> None:
        self.volumes.ensure()
        self.network.ensure()
        self._corner.clear()

    def base(self, name: str) -> Path:
        path = self.image(self.pool / name)
        self.volumes.free_bytes()  # refreshes the pool
        return path

    def define(
        self, fqdn: str, uuid: str, mac: str, disks: dict[str, Path], *, answers: bool = True
    ) -> None:
        network = self._corner.config.network.name
        xml = domain_xml(
            fqdn=fqdn, uuid=uuid, mac=mac, network=network, disks=disks, answers=answers
        )
        self._corner.connection().defineXML(xml)

    def write(self, fqdn: str, role: str, place: int) -> None:
        domain = self._corner.connection().lookupByName(fqdn)
        kill_guests.write(domain, role, place, place)

    def written(self, volume: Path, place: int) -> bool:
        copy = self._corner.scratch / "read"
        return kill_guests.read(volume, place, copy) == place

    def image(self, path: Path) -> Path:
        call("qemu-img", "create", "-q", "-f", "qcow2", path, str(GIB))
        return path

    def lose_pool(self) -> None:
        pool = self._corner.connection().storagePoolLookupByName(self._corner.config.pool)
        pool.destroy()
        pool.undefine()

    def lose_network(self) -> None:
        name = self._corner.config.network.name
        network = self._corner.connection().networkLookupByName(name)
        network.destroy()
        network.undefine()

    def fill(self) -> None:
        fill(self.pool)


@pytest.fixture(scope="module")
def small(own_host: None, tmp_path_factory: pytest.TempPathFactory) -> LibvirtNode:
    host = corner(_CORNER, tmp_path_factory.mktemp("contract"))
    host.pool.mkdir(parents=True)
    call("mount", "-t", "tmpfs", "-o", "size=64m,mode=711", "tmpfs", host.pool)
    return LibvirtNode(host)


class TestLibvirt(Contract):
    @pytest.fixture
    def node(self, small: LibvirtNode) -> Node:
        small.clear()
        return small
