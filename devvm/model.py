"""The domain's types. Frozen, standard library only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from devvm.errors import UsageError

#: Names that every Debian host or this tool uses for something else. A VM's name becomes a host
#: name and the default login, so an account that the guest already has can't be one.
RESERVED_NAMES = frozenset(
    {
        "_apt", "_chrony", "about", "adm", "all", "backup", "bin", "broadcasthost", "chrony",
        "daemon", "default", "devvm", "games", "gateway", "git", "gnats", "ip6-localhost", "irc",
        "list", "localhost", "lp", "mail", "man", "mariadb", "memcache", "memcached",
        "messagebus", "mysql", "news", "nginx", "nobody", "none", "prometheus", "proxy", "redis",
        "root", "sshd", "staff", "sudo", "sync", "sys", "systemd-network", "systemd-resolve",
        "systemd-timesync", "users", "uucp", "uuidd", "vagrant", "www-data",
    }
)  # fmt: skip

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def validate_name(name: str, *, what: str = "VM name") -> str:
    """Return `name` if it is fit for a host name and a login.

    A name goes into a host name (RFC 1123), a Debian login (`NAME_REGEX` of adduser), file and
    libvirt names, so the rule is the narrowest of them: 1 to 32 of `a-z 0-9 -`, beginning with a
    letter, not ending with `-`.

    Raises:
        UsageError: the name can't be used; says which rule it breaks.
    """
    rule = "use 1 to 32 of a-z, 0-9 and '-', begin with a letter, do not end with '-'"
    if not name:
        raise UsageError(f"the {what} is empty", details=rule, resolution="devvm create dev1")
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower())[:32].strip("-0123456789")
        if not _NAME.fullmatch(suggestion) or suggestion in RESERVED_NAMES:
            suggestion = "dev1"
        shown = name if len(name) <= 70 else f"{name[:67]}... ({len(name)} characters)"
        raise UsageError(
            f"{shown!r} can't be a {what}",
            details=rule,
            resolution=f"choose another, for example: {suggestion}",
        )
    if name in RESERVED_NAMES:
        raise UsageError(
            f"{name!r} can't be a {what}: the name is reserved",
            details="the VM itself has an account or a host of that name",
            resolution="choose another, for example: dev1",
        )
    return name


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
    data_volume: str
    #: Set once `create` has finished; a domain without it is one that a killed create left.
    ready: bool = False
    generation: int = 1


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
    metadata: Metadata | None
    lease: Lease | None
    root_volume: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk of a VM."""

    device: str  # the guest's name for it: "vda"
    path: Path
    size_bytes: int  # what the guest sees
    used_bytes: int  # what it takes on the host


@dataclass(frozen=True, kw_only=True)
class Box:
    """A golden image that is registered: built, verified, ready to be cloned."""

    release: str
    path: Path  # the .box file
    sha256: str
    built_at: str
    size_bytes: int
    verified: bool
    debian: str
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def vagrant_name(self) -> str:
        """The name under which Vagrant knows the box."""
        return f"devvm/{self.release}"


@dataclass(frozen=True, kw_only=True)
class PhaseRecord:
    """One finished phase of a run."""

    name: str
    title: str
    seconds: float
    result: str  # "done", "failed", "skipped"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a changing command: kept, so that `devvm show` can tell where the time went."""

    command: str
    started_at: str
    seconds: float
    result: str  # "done", "failed", "interrupted"
    phases: tuple[PhaseRecord, ...]


class Outcome(StrEnum):
    """Result of one check."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One expectation and what came of it."""

    name: str  # stable: "service/nginx/running"
    role: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of one verification."""

    vm: str
    release: str
    checks: tuple[CheckResult, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed (and there was one)."""
        return bool(self.checks) and all(c.outcome is Outcome.PASSED for c in self.checks)

    def failures(self) -> Iterable[CheckResult]:
        """The checks that did not pass."""
        return (c for c in self.checks if c.outcome is not Outcome.PASSED)


@dataclass(frozen=True, kw_only=True)
class Target:
    """How to reach a machine over SSH with its host key checked: an OpenSSH config and an alias."""

    ssh_config: Path
    alias: str


@dataclass(frozen=True, kw_only=True)
class AnsibleResult:
    """What a playbook run did."""

    ok: int
    changed: int
    tasks: tuple[Mapping[str, Any], ...] = ()  # changed tasks only: role, task, seconds
