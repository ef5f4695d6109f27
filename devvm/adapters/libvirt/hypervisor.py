"""The `Hypervisor` port over libvirt: puts domains, storage, network and host together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devvm import process
from devvm.adapters.libvirt.connection import Connection
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.host import Host
from devvm.adapters.libvirt.network import Network
from devvm.adapters.libvirt.storage import Storage
from devvm.config import Config
from devvm.model import Disk, Driver, Lease, Metadata, Vm


class LibvirtHypervisor:
    """A libvirt host.

    Args:
        config: Names the host, the pool and the network.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connection = Connection(config.uri)
        self._domains = Domains(self._connection)
        self._storage = Storage(self._connection, config.pool, config.pool_path)
        self._network = Network(self._connection, config.network)
        self._host = Host(self._connection)

    def check(self) -> None:
        """Raise `HostNotReadyError` unless libvirt answers."""
        self._connection.get()

    def driver(self, wanted: str) -> tuple[Driver, str]:
        """The driver for `auto`, `kvm` or `qemu`, and the reason in words."""
        return self._host.driver(wanted)

    def memory_mib(self) -> tuple[int, int]:
        """Memory of the host: total, and free for a new VM."""
        return self._host.memory_mib()

    def ensure_pool(self) -> None:
        """Make devvm's storage pool if it is not there, and start it."""
        self._storage.ensure()

    def ensure_network(self) -> None:
        """Make devvm's network if it is not there, and start it."""
        self._network.ensure()

    def free_bytes(self) -> int:
        """Space left in the pool."""
        return self._storage.free_bytes()

    def vms(self) -> list[Vm]:
        """Every VM of devvm's, by name."""
        return self._domains.vms(self._network.leases())

    def vm(self, name: str) -> Vm | None:
        """One VM of devvm's, or None."""
        return self._domains.vm(self._fqdn(name), self._network.leases())

    def domain_uuid(self, fqdn: str) -> str | None:
        """The UUID of the domain of this name, whoever made it; None where there is none."""
        return self._domains.uuid(fqdn)

    def domain_exists(self, fqdn: str) -> bool:
        """Whether a domain has this name, whoever made it."""
        return self._domains.uuid(fqdn) is not None

    def reserve_lease(self, name: str) -> Lease:
        """Fix a MAC, an address and the DNS name for a VM; the same ones when asked again."""
        return self._network.reserve(name)

    def release_lease(self, name: str) -> None:
        """Give the VM's MAC, address and DNS name back; nothing where there are none."""
        self._network.release(name)

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write what devvm knows into the domain."""
        self._domains.set_metadata(uuid, metadata)

    def start(self, vm: Vm) -> None:
        """Power on; nothing where it runs."""
        self._domains.start(vm.fqdn)

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        """Shut the guest down in order; with `force`, pull the plug after `timeout` seconds."""
        self._domains.shutdown(vm.fqdn, timeout=timeout, force=force)

    def remove_domain(self, fqdn: str) -> None:
        """Power off and undefine a domain with its root overlay; data volumes stay."""
        self._domains.remove(fqdn)
        self._storage.remove(f"{fqdn}.img")

    def disks(self, fqdn: str) -> list[Disk]:
        """A domain's disks in the pool, with their sizes."""
        found = []
        for device, path in self._domains.disk_sources(fqdn):
            size, used = self._storage.size(path)
            found.append(Disk(device=device, path=path, size_bytes=size, used_bytes=used))
        return found

    def console(self, fqdn: str) -> int:
        """The guest's serial console on this terminal, until the person leaves it."""
        return process.interactive(["virsh", "-c", self._config.uri, "console", fqdn])

    def upload_volume(self, name: str, source: Path, detail: Callable[[str], None]) -> Path:
        """Put a qcow2 file into the pool, whole or not at all; its path. Nothing where it is."""
        return self._storage.upload(name, source, detail)

    def volume_exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""
        return self._storage.exists(name)

    def volumes_of(self, fqdn: str) -> list[str]:
        """The volumes in the pool that are one VM's, by their names."""
        return self._storage.names((f"{fqdn}.img", f"{fqdn}-"))

    def remove_volume(self, name: str) -> None:
        """Delete a volume of devvm's pool for good; nothing where it is gone."""
        self._storage.remove(name)

    def users_of_volume(self, name: str) -> list[str]:
        """Names of the domains whose disks are this volume or an overlay on it."""
        return self._domains.users_of(self._storage.overlays(name))

    def _fqdn(self, name: str) -> str:
        return f"{name}.{self._config.network.domain}"
