"""The ports to a libvirt host: the host, the network, domains, volumes, disks. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from devvm.domain.disk import Disk, DomainDisk, Volume
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Lease, Metadata, Vm

#: Called with a short description of the current step.
Detail = Callable[[str], None]


class Host(Protocol):
    """The host itself."""

    def check(self) -> None:
        """Raise `HostNotReadyError` if libvirt doesn't answer."""

    def driver(self, wanted: str) -> tuple[Driver, str]:
        """The driver to use for the setting `auto`, `kvm` or `qemu`, and why."""

    def emulator(self, driver: Driver) -> str:
        """What a guest's memory can only be restored with: QEMU's version, and KVM's processor."""

    def memory_mib(self) -> tuple[int, int]:
        """The host's memory: total, and available to a new VM (caches count as free)."""


class Network(Protocol):
    """devvm's network, and the VMs' static leases."""

    def ensure(self) -> None:
        """Create the network if it doesn't exist, and start it."""

    def leases(self) -> dict[str, Lease]:
        """The static leases, by VM name."""

    def reserve(self, name: str, mac: str | None = None) -> Lease:
        """Reserve a MAC, an address and the DNS name for a VM, or return its existing lease.

        If `mac` is given, a lease with another MAC is replaced.
        """

    def release(self, name: str) -> None:
        """Release a VM's MAC, address and DNS name, if it has a lease."""


class Domains(Protocol):
    """Domains: VMs, and saved states, which are domains that never run."""

    def vms(self) -> list[Vm]:
        """The VMs of this configuration, sorted by name."""

    def vm(self, name: str) -> Vm | None:
        """A VM by its name; None if it doesn't exist or isn't devvm's."""

    def saved_states(self) -> list[SavedState]:
        """All saved states, oldest first."""

    def saved_state(self, name: str) -> SavedState | None:
        """The saved state in a domain; None if there is no such domain, or it isn't one."""

    def others(self) -> dict[str, str]:
        """The other domains: `{name: why it is neither a VM of devvm's nor a saved state}`."""

    def uuid(self, fqdn: str) -> str | None:
        """The UUID of a domain, whether devvm's or not; None if it doesn't exist."""

    def definition(self, fqdn: str) -> str:
        """A domain's definition for its next start. Opaque to callers."""

    def disks_in(self, definition: str) -> tuple[DomainDisk, ...]:
        """The disks that a definition names."""

    def define(self, definition: str, change: DomainChange) -> None:
        """Define a domain from `definition` with `change` applied; replaces one with its UUID."""

    def define_bare(
        self, name: str, uuid: str, volumes: tuple[DomainDisk, ...], facts: SavedState
    ) -> None:
        """Define a domain that exists only to own volumes."""

    def undefine(self, fqdn: str) -> None:
        """Undefine a domain that is off, if it exists; its volumes are kept."""

    def rename(self, fqdn: str, new: str) -> None:
        """Rename a domain that is off."""

    def remove(self, fqdn: str) -> None:
        """Power off and undefine a domain, if it exists; its volumes are kept."""

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write devvm's metadata to a domain."""

    def start(self, vm: Vm) -> None:
        """Power on or resume a VM, unless it is running."""

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        """Shut the guest down cleanly; with `force`, power it off after `timeout` seconds.

        Raises:
            OperationError: the guest did not shut down in time, and `force` was not given.
        """

    def console(self, fqdn: str) -> int:
        """Attach this terminal to the guest's serial console; returns an exit code."""

    def run(
        self, fqdn: str, argv: Sequence[str], *, timeout: float, stdin: str = ""
    ) -> tuple[int, str]:
        """Run a program in a running guest through its agent, as root, with `stdin` as its input.

        Returns:
            Its exit code, and what it wrote to standard error.

        Raises:
            OperationError: the agent doesn't answer, or the program doesn't end within `timeout`
                seconds.
        """

    def read_file(self, fqdn: str, path: str) -> str | None:
        """Read a small file through a running guest's agent; None if that fails."""

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        """Authorize a key for an account through a running guest's agent; False if that fails."""


class Volumes(Protocol):
    """The storage pool and its volumes: images of boxes, and the layers of VMs' disks."""

    def ensure(self) -> None:
        """Create devvm's storage pool if it doesn't exist, and start it."""

    def free_bytes(self) -> int:
        """Free space in the pool."""

    def all(self) -> list[Volume]:
        """All volumes of the pool, sorted by name, after a refresh."""

    def exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""

    def unused(self) -> list[Volume]:
        """Unneeded volumes of VMs, recognised by name; each layer before the one below it."""

    def users_of(self, name: str) -> list[str]:
        """Names of the domains that use a volume, directly or through a layer on it."""

    def sha256(self, name: str) -> str | None:
        """The SHA-256 of a volume's file; None if the volume doesn't exist."""

    def upload(self, name: str, source: Path, detail: Detail, *, overwrite: bool = False) -> Path:
        """Upload a qcow2 file to the pool, all or nothing, and return the volume's path.

        A complete volume of this name is left alone, unless `overwrite` says to repair it.
        """

    def layer(self, name: str, below: Path, size_bytes: int | None = None) -> Path:
        """Create an empty volume on top of another, at least as large, and return its path."""

    def remove(self, name: str) -> None:
        """Delete a volume from devvm's pool, if it exists.

        Raises:
            OperationError: a domain needs it.
        """


class Disks(Protocol):
    """The disks of domains. VMs keep running while these change."""

    def of(self, fqdn: str) -> list[Disk]:
        """A domain's disks, with their sizes."""

    def split(self, vm: Vm, on_top: Mapping[str, Path]) -> str:
        """Put new layers on a VM's disks, by role; a running VM keeps running.

        Returns:
            The consistency of the layers below: `off`, `frozen` or `crash`.
        """

    def move(self, vm: Vm, role: str, destination: Path) -> None:
        """Move the top layer of a running VM's disk to another volume."""

    def commit(self, vm: Vm, role: str, layer: Path) -> None:
        """Merge everything above a layer of a running VM's disk into it, and switch to it."""

    def resize(self, vm: Vm, role: str, size_bytes: int) -> None:
        """Enlarge a disk. Growing its file system is up to the guest."""


class Memory(Protocol):
    """The memory of running VMs, saved in volumes of the pool."""

    def save(self, fqdn: str, name: str) -> Path:
        """Save a running domain's memory as a volume, which powers it off.

        Raises:
            OperationError: it could not be saved; the domain runs on.
        """

    def definition(self, path: Path) -> str:
        """The definition of the domain whose memory was saved. Opaque to callers."""

    def restore(self, path: Path, change: DomainChange) -> None:
        """Start a domain, which is defined and off, with a memory that was another domain's.

        The caller makes sure that nobody else restores from the volume meanwhile.

        Args:
            path: The volume with the memory.
            change: How the domain differs from the one whose memory was saved.

        Raises:
            OperationError: it could not be restored; the domain is off.
        """
