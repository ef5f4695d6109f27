"""The `Hypervisor` port over libvirt: puts domains, storage, network and host together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from devvm.adapters.libvirt import definition as definitions
from devvm.adapters.libvirt import layers
from devvm.adapters.libvirt.connection import Connection
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.host import Host
from devvm.adapters.libvirt.live import Live
from devvm.adapters.libvirt.network import Network
from devvm.adapters.libvirt.storage import Storage
from devvm.config import Config
from devvm.domain.errors import OperationError
from devvm.domain.model import (
    Disk,
    DomainChange,
    DomainDisk,
    Driver,
    Kept,
    Lease,
    Metadata,
    Vm,
    VmState,
    Volume,
)
from devvm.system import process


class LibvirtHypervisor:
    """A libvirt host.

    Args:
        config: Names the host, the pool and the network.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connection = Connection(config.uri)
        self._domains = Domains(self._connection)
        self._live = Live(self._connection)
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
        """Every VM of this configuration's, by name."""
        found = self._domains.vms(self._network.leases())
        return [vm for vm in found if self._is_ours(vm.disks)]

    def vm(self, name: str) -> Vm | None:
        """One VM of devvm's, or None."""
        return self._domains.vm(self._fqdn(name), self._network.leases())

    def kept(self) -> list[Kept]:
        """Every state of a VM that is kept, the oldest first."""
        return [kept for kept in self._domains.kept() if self._is_ours(kept.disks)]

    def kept_state(self, name: str) -> Kept | None:
        """The kept state that the domain of this name is; None where it is none, or not there."""
        kept = self._domains.kept_state(name)
        return kept if kept is not None and self._is_ours(kept.disks) else None

    def other_domains(self) -> dict[str, str]:
        """The other domains, by name: why each is neither a VM of devvm's nor a kept state."""
        return self._domains.others()

    def domain_uuid(self, fqdn: str) -> str | None:
        """The UUID of the domain of this name, whoever made it; None where there is none."""
        return self._domains.uuid(fqdn)

    def definition(self, fqdn: str) -> str:
        """A domain's definition as it is for the next start: XML."""
        return self._domains.definition(fqdn)

    def disks_in(self, definition: str) -> tuple[DomainDisk, ...]:
        """The disks that a definition names."""
        return definitions.disks_in(definition)

    def define(self, definition: str, change: DomainChange) -> None:
        """Define a domain as `definition` does, but for `change`; replaces one of its UUID."""
        self._domains.define(definition, change)

    def define_bare(
        self, name: str, uuid: str, volumes: tuple[DomainDisk, ...], facts: Kept
    ) -> None:
        """Define a domain that does nothing but own volumes."""
        change = DomainChange(facts=facts, read_only=True)
        self._domains.define(definitions.bare(name, uuid, volumes), change)

    def undefine(self, fqdn: str) -> None:
        """Forget a domain that is off; its volumes stay. Nothing where it is gone."""
        self._domains.undefine(fqdn)

    def rename_domain(self, fqdn: str, new: str) -> None:
        """Give a domain that is off another name."""
        self._domains.rename(fqdn, new)

    def leases(self) -> dict[str, Lease]:
        """The fixed leases on the network, by VM."""
        return self._network.leases()

    def reserve_lease(self, name: str, mac: str | None = None) -> Lease:
        """Fix a MAC, an address and the DNS name for a VM; the same ones when asked again."""
        return self._network.reserve(name, mac)

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
        """Power off and undefine a domain; its volumes stay. Nothing where it is gone."""
        self._domains.remove(fqdn)

    def disks(self, fqdn: str) -> list[Disk]:
        """A domain's disks, with their sizes."""
        found = []
        for disk in self._domains.disk_sources(fqdn):
            size, used = self._storage.size(disk.path)
            found.append(
                Disk(
                    device=disk.device, role=disk.role, path=disk.path,
                    size_bytes=size, used_bytes=used,
                )
            )  # fmt: skip
        return found

    def console(self, fqdn: str) -> int:
        """The guest's serial console on this terminal, until the person leaves it."""
        return process.interactive(["virsh", "-c", self._config.uri, "console", fqdn])

    def read_guest_file(self, fqdn: str, path: str) -> str | None:
        """A small file of a running guest, by its agent; None where there is no answer."""
        return self._live.read_file(fqdn, path)

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        """Let a key in to an account of a running guest, by its agent; False: no answer."""
        return self._live.authorize_key(fqdn, login, public_key)

    def volumes(self) -> list[Volume]:
        """Every volume of the pool, as its file is now."""
        return self._storage.volumes()

    def volume_exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""
        return self._storage.exists(name)

    def unused_volumes(self) -> list[Volume]:
        """Volumes named as VMs' are that no domain needs; a layer before what is below it."""
        volumes = self._storage.volumes()
        needed = layers.needed(volumes, self._domains.users())
        ours = re.compile(rf"[a-z0-9-]+\.{re.escape(self._config.network.domain)}(\.img|-.*)")
        return [
            volume
            for volume in layers.top_down(volumes)
            if volume.path not in needed and ours.fullmatch(volume.name)
        ]

    def users_of_volume(self, name: str) -> list[str]:
        """Names of the domains whose disks are this volume or layers on it."""
        return layers.users_of(name, self._storage.volumes(), self._domains.users())

    def volume_sha256(self, name: str) -> str | None:
        """The hash over a volume's file; None where there is no such volume."""
        return self._storage.sha256(name)

    def upload_volume(
        self, name: str, source: Path, detail: Callable[[str], None], *, mend: bool = False
    ) -> Path:
        """Put a qcow2 file into the pool, whole or not at all; its path. Nothing where it is."""
        return self._storage.upload(name, source, detail, mend=mend)

    def layer(self, name: str, below: Path, size_bytes: int | None = None) -> Path:
        """Make an empty volume on top of another, as large or larger; its path."""
        return self._storage.layer(name, below, size_bytes)

    def remove_volume(self, name: str) -> None:
        """Delete a volume of devvm's pool for good; nothing where it is gone.

        Raises:
            OperationError: a domain needs it. No caller asks for that; this is the last line
                before data is lost.
        """
        users = self.users_of_volume(name)
        if users:
            raise OperationError(
                f"the volume {name} was not deleted: it is in use",
                details="by " + ", ".join(users),
                resolution="devvm doctor",
            )
        self._storage.remove(name)

    def split_disks(self, vm: Vm, on_top: Mapping[str, Path]) -> str:
        """Put new layers on a VM's disks, by role; how the disks below were brought to rest."""
        if vm.state is VmState.SHUTOFF:
            change = DomainChange(disks=on_top)
            self._domains.define(self._domains.definition(vm.fqdn), change)
            return "off"
        return "frozen" if self._live.split(vm.fqdn, on_top) else "crash"

    def move_disk(self, vm: Vm, role: str, destination: Path) -> None:
        """Go on, in a running VM, with a disk's newest layer in another volume."""
        self._live.move_disk(vm.fqdn, role, destination)

    def commit_layers(self, vm: Vm, role: str, layer: Path) -> None:
        """Write, in a running VM, what lies above a disk's layer into it, and go on in it."""
        self._live.commit(vm.fqdn, role, layer)

    def resize_disk(self, vm: Vm, role: str, size_bytes: int) -> None:
        """Make a disk larger; its file system is the guest's matter."""
        if vm.state is not VmState.SHUTOFF:
            self._live.resize(vm.fqdn, role, size_bytes)
            return
        path = next(disk.path for disk in vm.disks if disk.role == role)
        self._storage.resize(path, size_bytes)

    def _is_ours(self, disks: tuple[DomainDisk, ...]) -> bool:
        """Whether disks lie in this pool: the host may serve other configurations, too."""
        return any(disk.path.parent == self._config.pool_path for disk in disks)

    def _fqdn(self, name: str) -> str:
        return f"{name}.{self._config.network.domain}"
