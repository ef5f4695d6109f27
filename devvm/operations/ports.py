"""What operations need from the world. Protocols only, no I/O; adapters satisfy them.

All of them raise `devvm.errors.DevvmError`s and nothing of their tool's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from devvm.config import Config
from devvm.model import (
    AnsibleResult,
    Box,
    CheckResult,
    Disk,
    Driver,
    Lease,
    Metadata,
    Target,
    Vm,
)
from devvm.state import State

#: Told what is being done now.
Detail = Callable[[str], None]


class Hypervisor(Protocol):
    """A libvirt host: domains, volumes, the network."""

    def check(self) -> None:
        """Raise `HostNotReadyError` unless libvirt answers."""

    def driver(self, wanted: str) -> tuple[Driver, str]:
        """The driver for `auto`, `kvm` or `qemu`, and the reason in words."""

    def memory_mib(self) -> tuple[int, int]:
        """Memory of the host: total, and free for a new VM (caches count as free)."""

    def ensure_pool(self) -> None:
        """Make devvm's storage pool if it is not there, and start it."""

    def ensure_network(self) -> None:
        """Make devvm's network if it is not there, and start it."""

    def free_bytes(self) -> int:
        """Space left in the pool."""

    def vms(self) -> list[Vm]:
        """Every VM of devvm's, by name; one libvirt call."""

    def vm(self, name: str) -> Vm | None:
        """One VM of devvm's, or None."""

    def domain_exists(self, fqdn: str) -> bool:
        """Whether a domain has this name, whoever made it."""

    def domain_uuid(self, fqdn: str) -> str | None:
        """The UUID of the domain of this name, whoever made it; None where there is none."""

    def disks(self, fqdn: str) -> list[Disk]:
        """A domain's disks, with their sizes."""

    def reserve_lease(self, name: str) -> Lease:
        """Fix a MAC, an address and the DNS name for a VM; the same ones when asked again."""

    def release_lease(self, name: str) -> None:
        """Give the VM's MAC, address and DNS name back; nothing where there are none."""

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write what devvm knows into the domain."""

    def start(self, vm: Vm) -> None:
        """Power on; nothing where it runs."""

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        """Shut the guest down in order; with `force`, pull the plug after `timeout` seconds."""

    def remove_domain(self, fqdn: str) -> None:
        """Power off and undefine a domain with its root overlay; data volumes stay."""

    def upload_volume(self, name: str, source: Path, detail: Detail) -> Path:
        """Put a qcow2 file into the pool, whole or not at all; its path. Nothing where it is."""

    def volume_exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""

    def volumes_of(self, fqdn: str) -> list[str]:
        """The volumes in the pool that are one VM's, by their names."""

    def remove_volume(self, name: str) -> None:
        """Delete a volume of devvm's pool for good; nothing where it is gone."""

    def users_of_volume(self, name: str) -> list[str]:
        """Names of the domains whose disks are this volume or an overlay on it."""

    def console(self, fqdn: str) -> int:
        """The guest's serial console on this terminal, until the person leaves it."""


class Vagrant(Protocol):
    """Vagrant with the libvirt provider."""

    def box_registered(self, box: Box) -> bool:
        """Whether this user's Vagrant has the box."""

    def add_box(self, box: Box, detail: Detail) -> None:
        """`vagrant box add`, with the box's sha256 checked by Vagrant."""

    def remove_box(self, box: Box) -> None:
        """`vagrant box remove`; nothing where it is gone."""

    def volume_name(self, box: Box) -> str:
        """The name that vagrant-libvirt gives to the box's image in the pool."""

    def image(self, box: Box) -> Path:
        """The disk image of a registered box, as Vagrant unpacked it."""

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        """`vagrant up` in a folder with a Vagrantfile; what it made stays where it fails."""


class Shell(Protocol):
    """SSH into a machine whose host key is pinned."""

    def wait(self, target: Target, *, timeout: float, detail: Detail) -> None:
        """Wait until the machine lets us in."""

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        """Run a command (quoted, never a shell string); exit code, stdout, stderr."""

    def interactive(self, target: Target, argv: Sequence[str]) -> int:
        """A session on this terminal; the exit code of the remote command."""

    def disconnect(self, target: Target) -> None:
        """Drop a connection that is kept open for the next command; nothing where none is."""

    def new_key(self, path: Path, comment: str) -> str:
        """Make a key pair for logging in, at `path` and `path`.pub; the public half."""


class Provisioner(Protocol):
    """Ansible."""

    def apply(
        self,
        playbook: str,
        target: Target,
        *,
        variables: Mapping[str, Any],
        detail: Detail,
        log: Path,
        tags: Sequence[str] = (),
    ) -> AnsibleResult:
        """Run `playbooks/PLAYBOOK` on one machine; variables travel in a private file."""


class Verifier(Protocol):
    """The shipped testinfra suite."""

    def check(
        self, target: Target, *, detail: Detail, log: Path, junit: Path | None = None
    ) -> tuple[CheckResult, ...]:
        """Run every check of the suite against one machine."""


class CertificateAuthority(Protocol):
    """The host's own CA for the TLS certificates of its VMs."""

    def ensure(self) -> Path:
        """Make the CA if there is none; the path of its certificate."""

    def issue(self, fqdn: str) -> tuple[str, str]:
        """A new private key and a certificate chain for one host name, both PEM."""


class BoxStore(Protocol):
    """The boxes on this host."""

    def list(self) -> list[Box]:
        """Every registered box, newest first."""

    def find(self, release: str) -> Box | None:
        """The box with the same content as `release`, or None."""

    def damage(self, box: Box) -> str | None:
        """Why the box's file is not the one that was registered, in words; None where it is."""

    def remove(self, box: Box) -> None:
        """Delete the box's files."""


class DataDisks(Protocol):
    """Makes the file that becomes a VM's data disk."""

    def make(self, destination: Path, size_gib: int, identity: Mapping[str, str]) -> None:
        """A qcow2 with one labelled ext4, holding `/identity/FILE` for each item, root only."""

    def new_host_key(self, comment: str) -> tuple[str, str]:
        """A new ed25519 key pair: private and public, in OpenSSH's form."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """All that an operation may use; made by `devvm.wiring`."""

    config: Config
    state: State
    hypervisor: Hypervisor
    vagrant: Vagrant
    shell: Shell
    provisioner: Provisioner
    verifier: Verifier
    ca: CertificateAuthority
    boxes: BoxStore
    data_disks: DataDisks
