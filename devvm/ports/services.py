"""The ports that operations use. Protocols only, no I/O; adapters implement them.

All of them raise `devvm.domain.errors.DevvmError`, never an error of their tool's library.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
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
from devvm.ports.hypervisor import Detail, Disks, Domains, Host, Memory, Network, Volumes
from devvm.ports.origins import Origins
from devvm.ports.release import ReleaseStore
from devvm.stack.folder import StackFolder
from devvm.system.state import State

__all__ = [
    "Detail",
    "Disks",
    "Domains",
    "Host",
    "Memory",
    "Network",
    "Origins",
    "ReleaseStore",
    "Volumes",
]


class Vagrant(Protocol):
    """Vagrant with the libvirt provider."""

    def box_registered(self, box: Box) -> bool:
        """Whether this user's Vagrant has the box."""

    def add_box(self, box: Box, detail: Detail) -> None:
        """Run `vagrant box add`, which checks the box's sha256."""

    def remove_box(self, box: Box) -> None:
        """Run `vagrant box remove`, if the box is registered."""

    def volume_name(self, box: Box) -> str:
        """The name that vagrant-libvirt gives to the box's image in the pool."""

    def image(self, box: Box) -> Path:
        """The disk image of a registered box, as Vagrant unpacked it."""

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        """Run `vagrant up` in a folder with a Vagrantfile. If it fails, nothing is undone."""


class Shell(Protocol):
    """SSH to machines whose host keys are pinned."""

    def wait(self, target: Target, *, timeout: float, detail: Detail) -> None:
        """Wait until SSH login works."""

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        """Run a command, quoted for the remote shell; returns exit code, stdout and stderr."""

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | int | None = None,
        destination: Path | int | None = None, through: Sequence[str] = (), timeout: float = 3600,
    ) -> None:  # fmt: skip
        """Run a command with a local file as its input, or a new local file for its output.

        Both may be open descriptors. `through` is a command on this host that the bytes pass
        through.
        """

    def interactive(
        self, target: Target, argv: Sequence[str], *, forward_agent: bool = False
    ) -> int:
        """Run a session on this terminal and return the remote command's exit code.

        With `forward_agent`, it can use the person's SSH agent.
        """

    def forward(self, target: Target, port: int, socket: str) -> int:
        """Forward a port of this host's loopback to a Unix socket there, until Ctrl-C."""

    def opening(self, target: Target) -> AbstractContextManager[None]:
        """Open the connection that later commands share, beside what the block does."""

    def disconnect(self, target: Target) -> None:
        """Close the connection that is kept open for later commands, if there is one."""

    def new_key(self, path: Path, comment: str) -> str:
        """Generate a login key pair, `path` and `path`.pub, and return the public key."""


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
        """Run `playbooks/PLAYBOOK` on one machine. Variables are passed in a private file."""


class Verifier(Protocol):
    """The shipped testinfra suite."""

    def check(
        self,
        target: Target,
        *,
        checks: Path,
        detail: Detail,
        log: Path,
        packages: Mapping[str, str] | None = None,
        junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:
        """Run all checks against one machine.

        `checks` is the folder of those that its stack brings; `packages` are the versions in its
        release.
        """


class CertificateAuthority(Protocol):
    """The host's own CA for the TLS certificates of its VMs."""

    def ensure(self) -> Path:
        """Create the CA if there is none, renew it if it is due; returns its certificate's path."""

    def issue(self, fqdn: str) -> tuple[str, str]:
        """Issue a private key and a certificate chain for one host name, both PEM."""

    def renew(self, fqdn: str, chain: str) -> str:
        """Issue a new certificate chain for one host name, with the key of an old chain."""

    def ends(self, chain: str) -> datetime:
        """When a certificate expires."""


class BoxStore(Protocol):
    """The boxes on this host."""

    def list(self) -> list[Box]:
        """Every registered box, newest first."""

    def find(self, release: str) -> Box | None:
        """The box of `release`, whatever the date in its name, or None."""

    def package_set(self, box: Box) -> PackageSet | None:
        """The exact packages of a box; None if its metadata doesn't have them."""

    def damage(self, box: Box) -> str | None:
        """How the box's file differs from the one that was registered; None if it doesn't."""

    def image_sha256(self, box: Box) -> str:
        """The SHA-256 of the box's disk image."""

    def sha256(self, file: Path) -> str:
        """The SHA-256 of a file."""

    def remove(self, box: Box) -> None:
        """Delete the box's files."""


class DataDisks(Protocol):
    """Creates the file that becomes a VM's data disk."""

    def make(self, destination: Path, size_gib: int, identity: Mapping[str, str]) -> None:
        """Write a qcow2 with a labelled ext4 that has `/identity/NAME`, root only, by item."""

    def new_host_key(self, comment: str) -> tuple[str, str]:
        """Generate an ed25519 key pair: private and public, in OpenSSH's format."""


class Stacks(Protocol):
    """Provisioners and verifiers of recorded releases, instead of the working tree's."""

    def provisioner(self, release: str) -> Provisioner:
        """Ansible with the release's roles, playbooks and values."""

    def verifier(self, release: str) -> Verifier:
        """The suite with production and checks as recorded with the release."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that an operation may use. Built by `devvm.wiring`."""

    config: Config
    #: The stack in the working tree.
    stack: StackFolder
    state: State
    host: Host
    network: Network
    domains: Domains
    volumes: Volumes
    disks: Disks
    memory: Memory
    vagrant: Vagrant
    shell: Shell
    provisioner: Provisioner
    verifier: Verifier
    ca: CertificateAuthority
    boxes: BoxStore
    origins: Origins
    data_disks: DataDisks
    releases: ReleaseStore
    stacks: Stacks
    #: Functions that end a failed or killed operation, by its name in the journal. They are from
    #: `devvm.operations.recovery`, which operations may not import.
    endings: Mapping[str, Callable[[Any], Literal["finished", "undone", "left unfinished"]]]
    #: Sleeps for that many seconds.
    pause: Callable[[float], None] = time.sleep
