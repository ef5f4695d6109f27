"""A VM: its state in libvirt, its metadata, and how to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.name import is_own


class Driver(StrEnum):
    """How the guest's processor is virtualized."""

    KVM = "kvm"
    QEMU = "qemu"


class VmState(StrEnum):
    """libvirt's domain states and names, plus `missing`: known to devvm, but without a domain."""

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
    """An extra disk of a VM; appears as /dev/disk/by-id/virtio-NAME."""

    name: str
    size_gib: int


@dataclass(frozen=True, kw_only=True)
class HomeFile:
    """A file for a home directory: its content, and its mode."""

    text: str
    mode: int


@dataclass(frozen=True, kw_only=True)
class Engineer:
    """The person that a VM is for.

    Attributes:
        login: Name of the account in the VM.
        authorized_keys: Public keys that may log in to it.
        git_name: Name in git commits.
        git_email: Email address in git commits.
        shell: Login shell, if the VM has it; empty for the stack's.
        files: Files for a new home directory, by path in it.
    """

    login: str
    authorized_keys: tuple[str, ...]
    git_name: str
    git_email: str
    shell: str = ""
    files: Mapping[str, HomeFile] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A VM's address and names on devvm's network, kept for the VM's whole life."""

    mac: str
    address: str
    fqdn: str


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What devvm knows about a VM; stored in the domain's metadata, in devvm's namespace."""

    name: str
    engineer: str
    release: str
    created_at: str  # ISO 8601, UTC
    #: Set once `create` has finished. A domain without it was left by a `create` that was killed.
    ready: bool = False
    #: The name of its stack; empty if an older devvm made it.
    stack: str = ""
    #: How many roots the VM has had.
    generation: int = 1
    #: Needed to personalise a new root. Public: libvirt shows it to every user.
    authorized_keys: tuple[str, ...] = ()
    git_name: str = ""
    git_email: str = ""
    shell: str = ""
    #: The public half of the VM's SSH host key: type and key.
    host_key: str = ""
    #: The day its TLS certificate expires (ISO 8601, UTC); empty if unknown.
    certificate_until: str = ""
    #: The newest version of each database's package that has run on its data, as far as known.
    databases: Mapping[str, str] = field(default_factory=dict)
    #: The last day (ISO 8601) on which no rollout changes the VM; who pinned it, and why.
    pinned_until: str = ""
    pinned_by: str = ""
    pin_reason: str = ""
    #: The release that the VM is being updated to, or is when it next starts; and who started that.
    update_to: str = ""
    update_by: str = ""
    #: The saved state to go back to if the update fails.
    restore_point: str = ""

    @property
    def owner(self) -> Engineer:
        """The person that the VM is for."""
        return Engineer(
            login=self.engineer,
            authorized_keys=self.authorized_keys,
            git_name=self.git_name,
            git_email=self.git_email,
            shell=self.shell,
        )


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM, as libvirt reports it."""

    name: str
    fqdn: str
    uuid: str
    state: VmState
    driver: Driver
    memory_mib: int
    cpus: int
    metadata: Metadata | None  # None if its domain is gone and only parts are left
    lease: Lease | None
    mac: str = ""  # of its network card, whether or not the network knows it
    disks: tuple[DomainDisk, ...] = ()

    @property
    def is_devvms_own(self) -> bool:
        """Whether devvm makes it for itself right now: to check a box, or to become a spare."""
        ready = self.metadata is not None and self.metadata.ready
        return is_own(self.name) and not ready

    @property
    def known(self) -> Metadata:
        """The VM's metadata.

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
        """The volume that the VM boots from; None if it has none."""
        return next((d.path for d in self.disks if d.role == ROOT), None)

    @property
    def data(self) -> Path | None:
        """The volume of the data disk; None if it has none."""
        return next((d.path for d in self.disks if d.role == DATA), None)


@dataclass(frozen=True, kw_only=True)
class Target:
    """How to reach a machine over SSH with its host key checked.

    Attributes:
        ssh_config: An OpenSSH config.
        alias: The machine's name in it.
        python: The machine's Python for Ansible's modules.
    """

    ssh_config: Path
    alias: str
    python: str = "/usr/bin/python3"
