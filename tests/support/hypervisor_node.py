"""A hypervisor for the contract tests, with actions beyond the ports; this one is in memory."""

from pathlib import Path
from typing import Protocol

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Metadata, Vm, VmState
from devvm.ports import services
from tests.support.memory_host import (
    GIB,
    POOL,
    Disks,
    Domain,
    Domains,
    Hardware,
    Host,
    Memory,
    Network,
    Volumes,
)
from tests.support.memory_state import Layer

DEV1 = Metadata(
    name="dev1", engineer="ann", release="2026.11.23-1a2b3c4d5e6f",
    created_at="2026-11-23T10:00:00+00:00",
)  # fmt: skip
KEPT = SavedState(
    id="0123abcd", purpose=Purpose.SNAPSHOT, label="one", kept_at="2026-11-24T10:00:00+00:00",
    expires_at=None, uuid="", mac="", consistency="off", vm=DEV1,
)  # fmt: skip
UUIDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
MACS = ("52:54:00:aa:00:01", "52:54:00:aa:00:02")


class Node(Protocol):
    """A host with only an empty pool and network, and actions that no port has."""

    host: services.Host
    network: services.Network
    domains: services.Domains
    volumes: services.Volumes
    disks: services.Disks
    memory: services.Memory
    pool: Path
    domain: str

    def base(self, name: str) -> Path:
        """An empty volume of 1 GiB."""

    def define(
        self, fqdn: str, uuid: str, mac: str, disks: dict[str, Path], *, answers: bool = True
    ) -> None:
        """Define a domain that is off and that devvm doesn't know."""

    def write(self, fqdn: str, role: str, place: int) -> None:
        """Make a running guest write something at a place on its disk."""

    def written(self, volume: Path, place: int) -> bool:
        """Whether it was written to a volume or the layers below it."""

    def image(self, path: Path) -> Path:
        """Make a qcow2 file of 1 GiB."""

    def lose_pool(self) -> None:
        """Remove the pool, but not its files."""

    def lose_network(self) -> None:
        """Remove the network with its leases."""

    def fill(self) -> None:
        """Use up all space in the pool."""


class MemoryNode:
    """A host in memory."""

    def __init__(self) -> None:
        self.state = Host(agent=False)
        self.pool, self.domain = POOL, "devvm.test"
        self.host: services.Host = Hardware(self.state, self.domain)
        self.network: services.Network = Network(self.state, self.domain)
        self.domains: services.Domains = Domains(self.state, self.domain)
        self.volumes: services.Volumes = Volumes(self.state, self.domain)
        self.disks: services.Disks = Disks(self.state, self.domain)
        self.memory: services.Memory = Memory(self.state, self.domain)

    def base(self, name: str) -> Path:
        self.state.volumes[name] = Layer(size=GIB)
        return POOL / name

    def define(
        self, fqdn: str, uuid: str, mac: str, disks: dict[str, Path], *, answers: bool = True
    ) -> None:
        self.state.answers = answers
        found = (
            DomainDisk(device=f"vd{letter}", role=role, path=path)
            for letter, (role, path) in zip("ab", disks.items(), strict=False)
        )
        self.state.domains[fqdn] = Domain(name=fqdn, uuid=uuid, mac=mac, disks=tuple(found))

    def write(self, fqdn: str, role: str, place: int) -> None:
        (path,) = (d.path for d in self.state.domains[fqdn].live if d.role == role)
        self.state.volumes[path.name].files[str(place)] = "written"

    def written(self, volume: Path, place: int) -> bool:
        return str(place) in self.state.read(volume)

    def image(self, path: Path) -> Path:
        path.write_bytes(b"QFI\xfb".ljust(24, b"\0") + GIB.to_bytes(8, "big"))
        return path

    def lose_pool(self) -> None:
        self.state.pool = False

    def lose_network(self) -> None:
        self.state.network = False

    def fill(self) -> None:
        self.state.free = 0


_node: Node = MemoryNode()  # mypy checks it against the protocol


def make(node: Node, *, answers: bool = True) -> Vm:
    """Define a VM that is off."""
    disks = {ROOT: node.base("base-root"), DATA: node.base("base-data")}
    node.define(f"dev1.{node.domain}", UUIDS[0], MACS[0], disks, answers=answers)
    node.domains.set_metadata(UUIDS[0], DEV1)
    found = node.domains.vm("dev1")
    assert found is not None
    return found


def run(node: Node, vm: Vm) -> Vm:
    """Start the VM."""
    node.domains.start(vm)
    found = node.domains.vm(vm.name)
    assert found is not None
    return found


def state(node: Node) -> VmState:
    found = node.domains.vm("dev1")
    assert found is not None
    return found.state


def on_top(node: Node, vm: Vm) -> dict[str, Path]:
    """New layers on all of a VM's disks, by role."""
    names = {ROOT: "top-root", DATA: "top-data"}
    return {disk.role: node.volumes.layer(names[disk.role], disk.path) for disk in vm.disks}


def sizes(node: Node, vm: Vm) -> dict[str, int]:
    return {disk.role: disk.size_bytes for disk in node.disks.of(vm.fqdn)}
