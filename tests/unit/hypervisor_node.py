"""A hypervisor to try the contract on, and what no port can do to it; here, one in memory."""

from pathlib import Path
from typing import Protocol

from devvm.model import DomainDisk
from devvm.operations import ports
from tests.unit.memory_host import GIB, POOL, Domain, Host, Hypervisor
from tests.unit.memory_state import Layer


class Node(Protocol):
    """A host with nothing on it but an empty pool and network, and what no port can do to it."""

    hypervisor: ports.Hypervisor
    pool: Path
    domain: str

    def base(self, name: str) -> Path:
        """A volume of 1 GiB on which nothing is written yet."""

    def define(
        self, fqdn: str, uuid: str, mac: str, disks: dict[str, Path], *, answers: bool = True
    ) -> None:
        """A domain that devvm knows nothing of, and that is off."""

    def write(self, fqdn: str, role: str, place: int) -> None:
        """Have a running guest write something at a place of its disk."""

    def written(self, volume: Path, place: int) -> bool:
        """Whether that is on a volume or the layers below it."""

    def image(self, path: Path) -> Path:
        """A qcow2 file of 1 GiB."""

    def lose_pool(self) -> None:
        """The pool is gone; its files are not."""

    def lose_network(self) -> None:
        """The network is gone, and the leases with it."""

    def fill(self) -> None:
        """No byte is free in the pool."""


class MemoryNode:
    """A host in memory."""

    def __init__(self) -> None:
        self.host = Host(agent=False)
        self.pool, self.domain = POOL, "devvm.test"
        self.hypervisor: ports.Hypervisor = Hypervisor(self.host, self.domain)

    def base(self, name: str) -> Path:
        self.host.volumes[name] = Layer(size=GIB)
        return POOL / name

    def define(
        self, fqdn: str, uuid: str, mac: str, disks: dict[str, Path], *, answers: bool = True
    ) -> None:
        self.host.answers = answers
        found = (
            DomainDisk(device=f"vd{letter}", role=role, path=path)
            for letter, (role, path) in zip("ab", disks.items(), strict=False)
        )
        self.host.domains[fqdn] = Domain(name=fqdn, uuid=uuid, mac=mac, disks=tuple(found))

    def write(self, fqdn: str, role: str, place: int) -> None:
        (path,) = (d.path for d in self.host.domains[fqdn].live if d.role == role)
        self.host.volumes[path.name].files[str(place)] = "written"

    def written(self, volume: Path, place: int) -> bool:
        return str(place) in self.host.read(volume)

    def image(self, path: Path) -> Path:
        path.write_bytes(b"QFI\xfb".ljust(24, b"\0") + GIB.to_bytes(8, "big"))
        return path

    def lose_pool(self) -> None:
        self.host.pool = False

    def lose_network(self) -> None:
        self.host.network = False

    def fill(self) -> None:
        self.host.free = 0


_node: Node = MemoryNode()  # held against the protocol by mypy
