"""What operations need from the world. Protocols only, no I/O; adapters satisfy them.

All of them raise `devvm.domain.errors.DevvmError`s and nothing of their tool's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from devvm.config import Config
from devvm.domain.box import Box
from devvm.domain.check import CheckResult
from devvm.domain.package_set import PackageSet
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Target
from devvm.ports.hypervisor import Detail, Disks, Domains, Host, Network, Volumes
from devvm.ports.release import ReleaseStore
from devvm.system.state import State

__all__ = ["Detail", "Disks", "Domains", "Host", "Network", "ReleaseStore", "Volumes"]


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

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | None = None,
        destination: Path | None = None, timeout: float = 3600,
    ) -> None:  # fmt: skip
        """Run a command with a file of this host as its input, or its output into a new file."""

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
        self,
        target: Target,
        *,
        detail: Detail,
        log: Path,
        packages: Mapping[str, str] | None = None,
        junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:
        """Run every check of the suite against one machine of a release with these packages."""


class CertificateAuthority(Protocol):
    """The host's own CA for the TLS certificates of its VMs."""

    def ensure(self) -> Path:
        """Make the CA if there is none, renew it where it is old; the path of its certificate."""

    def issue(self, fqdn: str) -> tuple[str, str]:
        """A new private key and a certificate chain for one host name, both PEM."""

    def renew(self, fqdn: str, chain: str) -> str:
        """A new certificate chain for one host name and the key that an old chain is for."""

    def ends(self, chain: str) -> datetime:
        """When a certificate ends."""


class BoxStore(Protocol):
    """The boxes on this host."""

    def list(self) -> list[Box]:
        """Every registered box, newest first."""

    def find(self, release: str) -> Box | None:
        """The box of `release`, whenever it was built, or None."""

    def package_set(self, box: Box) -> PackageSet | None:
        """The exact packages of a box; None where that is not on record."""

    def damage(self, box: Box) -> str | None:
        """Why the box's file is not the one that was registered, in words; None where it is."""

    def image_sha256(self, box: Box) -> str:
        """The hash over the box's disk image."""

    def sha256(self, file: Path) -> str:
        """The hash over a file."""

    def remove(self, box: Box) -> None:
        """Delete the box's files."""


class DataDisks(Protocol):
    """Makes the file that becomes a VM's data disk."""

    def make(self, destination: Path, size_gib: int, identity: Mapping[str, str]) -> None:
        """A qcow2 with one labelled ext4, holding `/identity/FILE` for each item, root only."""

    def new_host_key(self, comment: str) -> tuple[str, str]:
        """A new ed25519 key pair: private and public, in OpenSSH's form."""


class Stacks(Protocol):
    """What brings machines to a release on record, and checks them: not what is in hand."""

    def provisioner(self, release: str) -> Provisioner:
        """Ansible, with the release's roles and playbooks."""

    def verifier(self, release: str) -> Verifier:
        """The suite, with production as it was when the release was put on record."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """All that an operation may use; made by `devvm.wiring`."""

    config: Config
    state: State
    host: Host
    network: Network
    domains: Domains
    volumes: Volumes
    disks: Disks
    vagrant: Vagrant
    shell: Shell
    provisioner: Provisioner
    verifier: Verifier
    ca: CertificateAuthority
    boxes: BoxStore
    data_disks: DataDisks
    releases: ReleaseStore
    stacks: Stacks
    #: How what an operation has begun is ended, by its name in the journal; of
    #: `devvm.operations.recovery`, which operations stand below.
    endings: Mapping[str, Callable[[Any], Literal["finished", "undone"]]]
    #: Lets so many seconds pass.
    pause: Callable[[float], None] = time.sleep
