"""The state of a libvirt host in memory: everything that outlives a command."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devvm.domain.disk import DATA, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import SavedState
from devvm.domain.vm import Lease, Metadata, VmState

GIB = 1024**3
POOL = Path("/pool")
HOST_KEY = "identity/ssh_host_ed25519_key.pub"


class Killed(BaseException):
    """Stands for SIGKILL: none of devvm's code runs after it."""


@dataclass
class Layer:
    """A volume, and the files written to it, as far as tests need them."""

    size: int = 20 * GIB
    below: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    saved: "Domain | None" = None  # the domain whose memory is in it


@dataclass(frozen=True)
class Domain:
    """A domain. `disks` are those of its next start, `live` those in use while it runs."""

    name: str
    uuid: str
    mac: str = ""
    disks: tuple[DomainDisk, ...] = ()
    facts: Metadata | SavedState | None = None
    title: str = ""
    oem_string: str = ""
    read_only: bool = False
    state: VmState = VmState.SHUTOFF
    live: tuple[DomainDisk, ...] = ()


@dataclass
class Guest:
    """What a guest read when it booted."""

    host_key: str = ""
    oem_string: str = ""
    admitted: set[str] = field(default_factory=set)  # keys admitted by the agent


@dataclass
class Host:
    """Everything that outlives a command, or a crash."""

    domains: dict[str, Domain] = field(default_factory=dict)  # by name
    volumes: dict[str, Layer] = field(default_factory=dict)  # by name
    leases: dict[str, Lease] = field(default_factory=dict)
    guests: dict[str, Guest] = field(default_factory=dict)  # by UUID
    definitions: list[Domain] = field(default_factory=list)  # those that were read
    added_boxes: set[str] = field(default_factory=set)  # releases of the boxes in Vagrant
    memory: tuple[int, int] = (16384, 8192)
    free: int = 100 * GIB  # reduced by new layers and images
    pool: bool = True  # whether it exists and is active
    network: bool = True  # the same
    agent: bool = True  # whether guests' agents answer
    answers: bool = True  # whether guests shut down when asked to
    thaws: int = 0  # exit code of the program that makes a restored guest itself
    watched: bool = True  # whether `refuse_damage` checks; slow on a large host
    busy: bool = False  # whether several operations run at once
    calls: list[str] = field(default_factory=list)
    fail_at: str = ""  # every step with this name fails
    fail_number: int = 0  # the step with this number fails, once
    failure: BaseException | None = None
    once: bool = False  # whether `fail_at` is for the first step with that name only
    dead: bool = False
    #: Held during each step, since there may be several threads.
    lock: AbstractContextManager[Any] = field(default_factory=threading.RLock, repr=False)

    def step(self, name: str) -> None:
        """Record a step that is about to be done, or fail if the test wants it to."""
        if self.dead:
            raise Killed
        self.calls.append(name)
        if name == self.fail_at or len(self.calls) == self.fail_number:
            assert self.failure is not None
            if self.once:
                self.fail_at = ""
            self.dead = isinstance(self.failure, Killed)
            raise self.failure

    def fail_once(self, name: str, failure: BaseException) -> None:
        """Fail the next step with this name."""
        self.fail_at, self.failure, self.once = name, failure, True

    def take(self, size: int, what: str) -> None:
        """Use up space in the pool.

        Raises:
            OperationError: there is no pool, or not enough space in it.
        """
        if not self.pool:
            raise OperationError(what, details="the storage pool is not there")
        if size > self.free:
            raise OperationError(what, details="No space left on device")
        self.free -= size

    def chain(self, path: Path | None) -> list[Path]:
        """A volume and those below it, top first."""
        found: list[Path] = []
        while path is not None and path.name in self.volumes:
            found.append(path)
            path = self.volumes[path.name].below
        return found

    def read(self, path: Path | None) -> dict[str, str]:
        """What a guest can read on a disk."""
        files: dict[str, str] = {}
        for layer in reversed(self.chain(path)):
            files |= self.volumes[layer.name].files
        return files

    def users(self) -> set[tuple[Path, str]]:
        """Every volume that is a disk of a domain, now or at its next start, with the domain."""
        return {
            (disk.path, domain.name)
            for domain in self.domains.values()
            for disk in (*domain.disks, *domain.live)
        }

    def boot(self, domain: Domain) -> None:
        """Power a domain on, or restore it."""
        for disk in domain.disks:
            if disk.path.name not in self.volumes:
                raise OperationError(f"{domain.name} can't be started", details=f"no {disk.path}")
        started = replace(domain, state=VmState.RUNNING, live=domain.disks)
        self.domains[domain.name] = started
        self.refuse_damage()
        self._identified(started)

    def identify(self, domain: Domain, files: Mapping[str, str]) -> None:
        """Have a guest write an identity to its data disk, and take it."""
        (data,) = (disk.path for disk in domain.disks if disk.role == DATA)
        self.volumes[data.name].files |= {f"identity/{name}": files[name] for name in files}
        self._identified(domain)

    def _identified(self, domain: Domain) -> None:
        data = next((disk.path for disk in domain.disks if disk.role == DATA), None)
        key = self.read(data).get(HOST_KEY, "")
        self.guests[domain.uuid] = Guest(
            host_key=" ".join(key.split()[:2]), oem_string=domain.oem_string
        )

    def refuse_damage(self) -> None:
        """Fail the test if a running VM writes to what another volume or domain reads.

        There are two exceptions. Layers made by an operation whose journal is lost are in the trash
        by themselves, without the volumes below them. And if several operations run at once, a
        layer may exist before its VM is switched to it.
        """
        if not self.watched:
            return
        loose = {
            disk.path.name
            for domain in self.domains.values()
            if isinstance(domain.facts, SavedState) and not domain.facts.whole
            for disk in domain.disks
        }
        layers = {*self.volumes} - loose
        if self.busy:
            layers &= {layer.name for path, _ in self.users() for layer in self.chain(path)}
        below = {self.volumes[name].below for name in layers}
        users: dict[Path, set[str]] = {}
        for path, name in self.users():
            users.setdefault(path, set()).add(name)
        for domain in self.domains.values():
            for disk in domain.live:
                assert disk.path not in below, f"{domain.name} writes under a layer: {disk.path}"
                others = users[disk.path]
                assert others == {domain.name}, f"{disk.path} is written by one of {others}"
