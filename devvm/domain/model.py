"""The domain's types. Frozen, standard library only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from devvm.domain.errors import OperationError, UsageError

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

#: How the names begin of VMs that a check of a box makes, and that the next check removes.
BOX_CHECK = "boxcheck-"

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def validate_name(name: str, *, what: str = "VM name") -> str:
    """Return `name` if it is fit for a host name and a login.

    A name goes into a host name (RFC 1123), a Debian login (`NAME_REGEX` of adduser), file and
    libvirt names, so the rule is the narrowest of them: 1 to 32 of `a-z 0-9 -`, beginning with a
    letter, not ending with `-`.

    Raises:
        UsageError: the name can't be used; says which rule it breaks.
    """
    rule = "use 1 to 32 of a-z, 0-9 and '-', start with a letter, do not end with '-'"
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


def validate_new_name(name: str) -> str:
    """As `validate_name`, of a VM that somebody wants to make.

    Raises:
        UsageError: also for names that devvm gives to VMs of its own.
    """
    if validate_name(name).startswith(BOX_CHECK):
        raise UsageError(
            f"{name!r} can't be a VM name: {BOX_CHECK!r} is reserved",
            details="VMs with such names are created to check a box, then deleted for good",
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
    #: The kept state that the VM goes back to where bringing it there fails.
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


#: What a disk is to a VM, by its serial number; the one without is the root. Any other serial is
#: the name of an extra disk, which persists as the data disk does.
ROOT, DATA = "root", "devvm-data"


@dataclass(frozen=True, kw_only=True)
class DomainDisk:
    """A disk as a domain's definition has it."""

    device: str  # the guest's name for it: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk of a VM, with its size."""

    device: str  # the guest's name for it: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path
    size_bytes: int  # what the guest sees; 0 where the file is gone
    used_bytes: int  # what its newest layer takes on the host


class Purpose(StrEnum):
    """What a VM's earlier state is kept for."""

    SNAPSHOT = "snapshot"
    TRASH = "trash"
    #: By an operation that has not ended; becomes trash, or the VM again.
    PREVIOUS = "previous"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A state of a VM that is kept: its disks and its definition, as a domain that never runs.

    Attributes:
        id: Names it; 8 hexadecimal digits.
        purpose: What for.
        label: A snapshot's name; otherwise in words how it came to be kept.
        kept_at: When; ISO 8601, UTC.
        expires_at: From when on it may be deleted for good; None: never.
        uuid: The VM's.
        mac: The VM's, to be given it again.
        consistency: How the disks were brought to rest: `off`, `frozen`, `crash`.
        vm: What devvm knew of the VM.
        disks: The disks as they were.
        whole: Whether the VM can be brought back as it was; otherwise there are disks only.
    """

    id: str
    purpose: Purpose
    label: str
    kept_at: str
    expires_at: str | None
    uuid: str
    mac: str
    consistency: str
    vm: Metadata
    disks: tuple[DomainDisk, ...] = ()
    whole: bool = True

    @property
    def destroyed(self) -> bool:
        """Whether this is a VM that was destroyed, and not an earlier state of one."""
        return self.purpose is Purpose.TRASH and self.label == DESTROYED


#: The label of a destroyed VM in the trash.
DESTROYED = "destroyed"


@dataclass(frozen=True, kw_only=True)
class DomainChange:
    """How a domain is to differ from the definition that it is made from; None: not at all.

    Attributes:
        name: Its name.
        uuid: Its identifier.
        title: A line for people who look with virsh.
        mac: Of its one network card.
        disks: Volumes by role, in place of those that are there.
        facts: What devvm knows of it: a VM's, or of a kept state.
        read_only: Whether its disks can't be written to, so that starting it by hand harms nothing.
        oem_string: The SMBIOS string that systemd reads as a credential.
    """

    name: str | None = None
    uuid: str | None = None
    title: str | None = None
    mac: str | None = None
    disks: Mapping[str, Path] = field(default_factory=dict)
    facts: Metadata | Kept | None = None
    read_only: bool = False
    oem_string: str | None = None


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of the pool."""

    name: str
    path: Path
    size_bytes: int  # what a guest sees
    used_bytes: int  # what it takes on the host
    below: Path | None  # what it is a layer on


@dataclass(frozen=True, kw_only=True)
class MovedPackage:
    """A package that is as in the release, and not as in production.

    Attributes:
        name: Its name.
        production: Production's version; None: it is not there.
        found: The version here; None: it is not here.
    """

    name: str
    production: str | None
    found: str | None

    @property
    def label(self) -> str:
        """It with its version, for people: `nginx-common 1.22.1-9+deb12u4`."""
        return f"{self.name} {self.found}" if self.found else self.name

    @property
    def change(self) -> str:
        """From which version to which: `1.5.2-6+deb12u2 -> 1.5.2-6+deb12u3`."""
        return f"{self.production or 'not there'} -> {self.found or 'not there'}"


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
    image_sha256: str = ""  # of the disk image in it
    production_sha256: str = ""  # over what production was when it was verified; empty: unknown
    content: str = ""  # the content hash of its stack
    moved: tuple[MovedPackage, ...] = ()  # what it had otherwise than production then

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
    WAIVED = "waived"  # differs, and a waiver allows it
    AHEAD = "ahead"  # a package as in the VM's release, not as in production; what it brought


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One expectation and what came of it.

    Attributes:
        name: Stable: `unit/nginx.service`.
        role: Which role answers for it.
        outcome: What came of it.
        message: What is otherwise than expected, in a line.
        seconds: How long the comparison took.
        difference: Of an item of the manifest: `differs`, `missing` or `extra`.
        expected: Of an item: the facts that differ, as they should be.
        found: Of an item: the same facts as they are.
        diff: Of a text: a unified diff.
        waiver: Who allows it, until when and why.
        package: Of what is ahead: the package that it comes with, and its version.
    """

    name: str
    role: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    difference: str | None = None
    expected: Mapping[str, Any] | None = None
    found: Mapping[str, Any] | None = None
    diff: str | None = None
    waiver: str | None = None
    package: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of one verification.

    Attributes:
        vm: The VM's name.
        release: Its release.
        checks: The results.
        seconds: How long it took.
        packages_from: What told which packages the release has: its `box` here, or the `record`
            of the release; None: nothing does, and every package that is not as in production
            fails.
    """

    vm: str
    release: str
    checks: tuple[CheckResult, ...]
    seconds: float
    packages_from: Literal["box", "record"] | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed or is waived (and there was one)."""
        return bool(self.checks) and not any(self.failures())

    def failures(self) -> Iterable[CheckResult]:
        """The checks that did not pass, and that nothing allows to fail."""
        return (c for c in self.checks if c.outcome in (Outcome.FAILED, Outcome.ERROR))

    def waived(self) -> Iterable[CheckResult]:
        """The checks that did not pass, and that a waiver allows to fail."""
        return (c for c in self.checks if c.outcome is Outcome.WAIVED)

    def ahead(self) -> Iterable[CheckResult]:
        """The packages of the VM's release that production has otherwise, and what they brought."""
        return (c for c in self.checks if c.outcome is Outcome.AHEAD)

    def moved(self) -> tuple[MovedPackage, ...]:
        """The packages of the VM's release that production has otherwise."""
        return tuple(
            MovedPackage(
                name=check.name.partition("/")[2],
                production=(check.expected or {}).get("version"),
                found=(check.found or {}).get("version"),
            )
            for check in self.ahead()
            if check.name.startswith("package/")
        )


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
