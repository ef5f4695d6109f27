"""The state of a libvirt host in memory: everything that outlives a command."""

import threading
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
    """Stands for SIGKILL: nothing of devvm's runs after it."""


@dataclass
class Layer:
    """A volume, and the files that were written in it, as far as tests care."""

    size: int = 20 * GIB
    below: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    sha256: str = ""


@dataclass(frozen=True)
class Domain:
    """A domain: `disks` are those of its next start, `live` those that a running one has."""

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
    """What a guest took up when it booted."""

    host_key: str = ""
    oem_string: str = ""
    admitted: set[str] = field(default_factory=set)  # by the agent


@dataclass
class Host:
    """Everything that outlives a command: what a crash leaves."""

    domains: dict[str, Domain] = field(default_factory=dict)  # by name
    volumes: dict[str, Layer] = field(default_factory=dict)  # by name
    leases: dict[str, Lease] = field(default_factory=dict)
    guests: dict[str, Guest] = field(default_factory=dict)  # by UUID
    definitions: list[Domain] = field(default_factory=list)  # that somebody has read
    added_boxes: set[str] = field(default_factory=set)  # releases that Vagrant has
    memory: tuple[int, int] = (16384, 8192)
    free: int = 100 * GIB  # what new layers and images take from it
    pool: bool = True  # whether it is there, and active
    network: bool = True  # the same
    agent: bool = True  # whether guests' agents answer
    answers: bool = True  # whether guests shut down when they are asked to
    watched: bool = True  # whether `refuse_damage` looks; it takes a while where there is much
    busy: bool = False  # whether several operations go on at once
    calls: list[str] = field(default_factory=list)
    fail_at: str = ""  # every step of this name fails
    fail_number: int = 0  # the step with this number fails, once
    failure: BaseException | None = None
    dead: bool = False
    #: held while something is done, as several threads may do so
    lock: AbstractContextManager[Any] = field(default_factory=threading.RLock, repr=False)

    def step(self, name: str) -> None:
        """Note that something is about to be done; fail instead where the test wants that."""
        if self.dead:
            raise Killed
        self.calls.append(name)
        if name == self.fail_at or len(self.calls) == self.fail_number:
            assert self.failure is not None
            self.dead = isinstance(self.failure, Killed)
            raise self.failure

    def take(self, size: int, what: str) -> None:
        """Use up space in the pool.

        Raises:
            OperationError: there is no pool, or it has not so much.
        """
        if not self.pool:
            raise OperationError(what, details="the storage pool is not there")
        if size > self.free:
            raise OperationError(what, details="No space left on device")
        self.free -= size

    def chain(self, path: Path | None) -> list[Path]:
        """A volume and those below it, from the top down."""
        found: list[Path] = []
        while path is not None and path.name in self.volumes:
            found.append(path)
            path = self.volumes[path.name].below
        return found

    def read(self, path: Path | None) -> dict[str, str]:
        """What a guest reads on a disk."""
        files: dict[str, str] = {}
        for layer in reversed(self.chain(path)):
            files |= self.volumes[layer.name].files
        return files

    def users(self) -> set[tuple[Path, str]]:
        """Domains by the volumes that are their disks, now or at the next start."""
        return {
            (disk.path, domain.name)
            for domain in self.domains.values()
            for disk in (*domain.disks, *domain.live)
        }

    def boot(self, domain: Domain) -> None:
        """What happens when a domain is powered on."""
        for disk in domain.disks:
            if disk.path.name not in self.volumes:
                raise OperationError(f"{domain.name} can't be started", details=f"no {disk.path}")
        started = replace(domain, state=VmState.RUNNING, live=domain.disks)
        self.domains[domain.name] = started
        self.refuse_damage()
        data = next((disk.path for disk in domain.disks if disk.role == DATA), None)
        key = self.read(data).get(HOST_KEY, "")
        self.guests[domain.uuid] = Guest(
            host_key=" ".join(key.split()[:2]), oem_string=domain.oem_string
        )

    def refuse_damage(self) -> None:
        """Fail the test where a running VM writes what another volume or domain reads.

        A layer that an operation made, and whose journal is lost, is in the trash for its own sake
        only: what it lies on is not kept with it. And where several operations go on at once, a
        layer may be there that another one is just about to put its VM on.
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
