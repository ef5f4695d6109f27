"""The ports to a libvirt host: the host, the network, domains, volumes, disks. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from devvm.domain.disk import Disk, DomainDisk, Volume
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Lease, Metadata, Vm

#: Told what is being done now.
Detail = Callable[[str], None]


class Host(Protocol):
    """The host itself."""

    def check(self) -> None:
        """Raise `HostNotReadyError` unless libvirt answers."""

    def driver(self, wanted: str) -> tuple[Driver, str]:
        """The driver for `auto`, `kvm` or `qemu`, and the reason in words."""

    def memory_mib(self) -> tuple[int, int]:
        """Memory of the host: total, and free for a new VM (caches count as free)."""


class Network(Protocol):
    """devvm's network, and the VMs' fixed places on it."""

    def ensure(self) -> None:
        """Make the network if it is not there, and start it."""

    def leases(self) -> dict[str, Lease]:
        """The fixed leases, by VM."""

    def reserve(self, name: str, mac: str | None = None) -> Lease:
        """Fix a MAC, an address and the DNS name for a VM; the same ones when asked again.

        With `mac`, it is that one: another that the name has is given up.
        """

    def release(self, name: str) -> None:
        """Give the VM's MAC, address and DNS name back; nothing where there are none."""


class Domains(Protocol):
    """Domains: VMs, and states of VMs that are kept, which are domains that never run."""

    def vms(self) -> list[Vm]:
        """Every VM of this configuration's, by name; one libvirt call."""

    def vm(self, name: str) -> Vm | None:
        """One VM of devvm's, or None."""

    def saved_states(self) -> list[SavedState]:
        """Every state of a VM that is kept, the oldest first."""

    def saved_state(self, name: str) -> SavedState | None:
        """The saved state that the domain of this name is; None where it is none, or not there."""

    def others(self) -> dict[str, str]:
        """The other domains, by name: why each is neither a VM of devvm's nor a saved state."""

    def uuid(self, fqdn: str) -> str | None:
        """The UUID of the domain of this name, whoever made it; None where there is none."""

    def definition(self, fqdn: str) -> str:
        """A domain's definition as it is for the next start; opaque."""

    def disks_in(self, definition: str) -> tuple[DomainDisk, ...]:
        """The disks that a definition names."""

    def define(self, definition: str, change: DomainChange) -> None:
        """Define a domain as `definition` does, but for `change`; replaces one of its UUID."""

    def define_bare(
        self, name: str, uuid: str, volumes: tuple[DomainDisk, ...], facts: SavedState
    ) -> None:
        """Define a domain that does nothing but own volumes."""

    def undefine(self, fqdn: str) -> None:
        """Forget a domain that is off; its volumes stay. Nothing where it is gone."""

    def rename(self, fqdn: str, new: str) -> None:
        """Give a domain that is off another name."""

    def remove(self, fqdn: str) -> None:
        """Power off and undefine a domain; its volumes stay. Nothing where it is gone."""

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write what devvm knows into the domain."""

    def start(self, vm: Vm) -> None:
        """Power on; nothing where it runs."""

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        """Shut the guest down in order; with `force`, pull the plug after `timeout` seconds.

        Raises:
            OperationError: the guest did not shut down in time, and `force` was not given.
        """

    def console(self, fqdn: str) -> int:
        """The guest's serial console on this terminal, until the person leaves it."""

    def read_file(self, fqdn: str, path: str) -> str | None:
        """A small file of a running guest, by its agent; None where there is no answer."""

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        """Let a key in to an account of a running guest, by its agent; False: no answer."""


class Volumes(Protocol):
    """The pool and its volumes: boxes' images, and the layers that VMs' disks consist of."""

    def ensure(self) -> None:
        """Make devvm's storage pool if it is not there, and start it."""

    def free_bytes(self) -> int:
        """Space left in the pool."""

    def all(self) -> list[Volume]:
        """Every volume of the pool, by name, as its file is now."""

    def exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""

    def unused(self) -> list[Volume]:
        """Volumes named as VMs' are that no domain needs; a layer before what is below it."""

    def users_of(self, name: str) -> list[str]:
        """Names of the domains whose disks are this volume or layers on it."""

    def sha256(self, name: str) -> str | None:
        """The hash over a volume's file; None where there is no such volume."""

    def upload(self, name: str, source: Path, detail: Detail, *, overwrite: bool = False) -> Path:
        """Put a qcow2 file into the pool, whole or not at all; its path. Nothing where it is.

        With `overwrite`, write it again over one that is there and has been damaged.
        """

    def layer(self, name: str, below: Path, size_bytes: int | None = None) -> Path:
        """Make an empty volume on top of another, as large or larger; its path."""

    def remove(self, name: str) -> None:
        """Delete a volume of devvm's pool for good; nothing where it is gone.

        Raises:
            OperationError: a domain needs it.
        """


class Disks(Protocol):
    """The disks of domains, and the volumes that they lie on; VMs run on meanwhile."""

    def of(self, fqdn: str) -> list[Disk]:
        """A domain's disks, with their sizes."""

    def split(self, vm: Vm, on_top: Mapping[str, Path]) -> str:
        """Put new layers on a VM's disks, by role; the VM runs on, if it runs.

        Returns:
            How the disks below were brought to rest: `off`, `frozen` or `crash`.
        """

    def move(self, vm: Vm, role: str, destination: Path) -> None:
        """Go on, in a running VM, with a disk's newest layer in another volume."""

    def commit(self, vm: Vm, role: str, layer: Path) -> None:
        """Write, in a running VM, what lies above a disk's layer into it, and go on in it."""

    def resize(self, vm: Vm, role: str, size_bytes: int) -> None:
        """Make a disk larger; its file system is the guest's matter."""
