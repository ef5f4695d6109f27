"""A VM: what libvirt shows of it, what devvm knows of it, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError


class Driver(StrEnum):
    """How the guest's processor is provided."""

    KVM = "kvm"
    QEMU = "qemu"


class VmState(StrEnum):
    """libvirt's domain states, in libvirt's words, plus `missing`: known to devvm, not there."""

    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "in shutdown"
    SHUTOFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "pmsuspended"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class ExtraDisk:
    """A further disk of a VM; appears as /dev/disk/by-id/virtio-NAME."""

    name: str
    size_gib: int


@dataclass(frozen=True, kw_only=True)
class Engineer:
    """The person that a VM is for."""

    login: str
    authorized_keys: tuple[str, ...]
    git_name: str
    git_email: str


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A VM's fixed place on devvm's network, kept for the VM's whole life."""

    mac: str
    address: str
    fqdn: str


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What devvm knows of a VM; kept in the domain's own metadata, under devvm's namespace."""

    name: str
    engineer: str
    release: str
    created_at: str  # ISO 8601, UTC
    #: Set once `create` has finished; a domain without it is one that a killed create left.
    ready: bool = False
    #: How many roots the VM has had.
    generation: int = 1
    #: What a new root needs to be made the engineer's again; public, as libvirt shows it to all.
    authorized_keys: tuple[str, ...] = ()
    git_name: str = ""
    git_email: str = ""
    #: The public half of the VM's SSH host key: type and key.
    host_key: str = ""
    #: The day (ISO 8601, UTC) on which its TLS certificate ends; empty where it is not known.
    certificate_until: str = ""
    #: Version of the newest MariaDB that has run on the data; empty where it is not known.
    mariadb: str = ""
    #: Until which day (ISO 8601, that day included) no rollout changes the VM, by whom and why.
    pinned_until: str = ""
    pinned_by: str = ""
    pin_reason: str = ""
    #: The release that the VM is being brought to, or is to be when it next starts; by whom.
    update_to: str = ""
    update_by: str = ""
    #: The saved state that the VM goes back to where bringing it there fails.
    restore_point: str = ""

    @property
    def owner(self) -> Engineer:
        """The person that the VM is for."""
        return Engineer(
            login=self.engineer,
            authorized_keys=self.authorized_keys,
            git_name=self.git_name,
            git_email=self.git_email,
        )


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM as libvirt shows it."""

    name: str
    fqdn: str
    uuid: str
    state: VmState
    driver: Driver
    memory_mib: int
    cpus: int
    metadata: Metadata | None  # None: its domain is gone, and this is what is left
    lease: Lease | None
    mac: str = ""  # of its card, whatever the network knows of it
    disks: tuple[DomainDisk, ...] = ()

    @property
    def known(self) -> Metadata:
        """What devvm knows of the VM.

        Raises:
            OperationError: its domain is gone.
        """
        if self.metadata is None:
            raise OperationError(
                f"the libvirt domain of {self.name} is gone", resolution="devvm doctor --fix"
            )
        return self.metadata

    @property
    def root(self) -> Path | None:
        """The volume that the VM boots from; None where the domain has none."""
        return next((d.path for d in self.disks if d.role == ROOT), None)

    @property
    def data(self) -> Path | None:
        """The volume of the data disk; None where the domain has none."""
        return next((d.path for d in self.disks if d.role == DATA), None)


@dataclass(frozen=True, kw_only=True)
class Target:
    """How to reach a machine over SSH with its host key checked: an OpenSSH config and an alias."""

    ssh_config: Path
    alias: str
