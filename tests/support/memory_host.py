"""A libvirt host in memory: domains, volumes with their contents, a network.

One state, with a class for each port of `devvm.ports.hypervisor`. It keeps the ports' promises, and
fails a test if devvm would damage data: if a running VM writes to what something else reads.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from devvm.domain.disk import ROOT, Disk, DomainDisk, Volume
from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Lease, Metadata, Vm, VmState
from devvm.ports import services
from devvm.ports.services import Detail
from tests.support.memory_state import GIB, HOST_KEY, POOL, Domain, Guest, Host, Killed, Layer

__all__ = [
    "GIB", "HOST_KEY", "POOL", "Disks", "Domain", "Domains", "Guest", "Hardware", "Host", "Killed",
    "Layer", "Memory", "Network", "Volumes",
]  # fmt: skip


#: What an empty layer takes.
_EMPTY_LAYER = 196_608
_HOST_KEY_IN_GUEST = "/etc/ssh/ssh_host_ed25519_key.pub"


class _Face:
    """A port of the host: one call at a time, and none after the process was killed."""

    def __init__(self, host: Host, domain: str) -> None:
        self.host = host
        self.domain = domain

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name.startswith("_") or not callable(value):
            return value

        def call(*arguments: Any, **more: Any) -> Any:
            with self.host.lock:
                if self.host.dead:
                    raise Killed
                return value(*arguments, **more)

        return call

    def _get(self, fqdn: str) -> Domain:
        if fqdn not in self.host.domains:
            raise OperationError(f"the domain {fqdn} can't be looked up")
        return self.host.domains[fqdn]


class Hardware(_Face):
    """The port `Host`."""

    def check(self) -> None:
        self.host.step("check")

    def driver(self, wanted: str) -> tuple[Driver, str]:
        return Driver.QEMU, "emulation, as always here"

    def emulator(self, driver: Driver) -> str:
        return "QEMU 7.2"

    def memory_mib(self) -> tuple[int, int]:
        return self.host.memory


class Network(_Face):
    """The port `Network`."""

    def ensure(self) -> None:
        self.host.step("ensure_network")
        if not self.host.network:  # it is new
            self.host.leases.clear()
        self.host.network = True

    def leases(self) -> dict[str, Lease]:
        return dict(self.host.leases) if self.host.network else {}

    def reserve(self, name: str, mac: str | None = None) -> Lease:
        self.host.step("reserve_lease")
        if not self.host.network:
            raise OperationError(f"{name}: no address can be reserved", details="no network")
        found = self.host.leases.get(name)
        if found is not None and mac in (None, found.mac):
            return found
        others = [lease for other, lease in self.host.leases.items() if other != name]
        if mac in {lease.mac for lease in others}:
            raise OperationError(f"{name}: no address can be reserved", details=f"{mac} is taken")
        addresses = {lease.address for lease in others}
        number = next((n for n in range(1, 250) if f"10.1.2.{n + 2}" not in addresses), None)
        if number is None:
            raise HostNotReadyError(f"the network has no address left for {name}")
        lease = Lease(
            mac=mac or f"52:54:00:00:00:{number:02x}",
            address=f"10.1.2.{number + 2}",
            fqdn=f"{name}.{self.domain}",
        )
        self.host.leases[name] = lease
        return lease

    def release(self, name: str) -> None:
        self.host.step("release_lease")
        if self.host.network:
            self.host.leases.pop(name, None)


class Domains(_Face):
    """The port `Domains`."""

    def vms(self) -> list[Vm]:
        found = [vm for name in self.host.domains if (vm := self._vm(name))]
        return sorted(found, key=lambda vm: vm.name)

    def vm(self, name: str) -> Vm | None:
        return self._vm(f"{name}.{self.domain}")

    def saved_states(self) -> list[SavedState]:
        found = [
            replace(domain.facts, disks=domain.disks)
            for domain in self.host.domains.values()
            if isinstance(domain.facts, SavedState)
        ]
        return sorted(found, key=lambda kept: (kept.kept_at, kept.id))

    def saved_state(self, name: str) -> SavedState | None:
        domain = self.host.domains.get(name)
        if domain is None or not isinstance(domain.facts, SavedState):
            return None
        return replace(domain.facts, disks=domain.disks)

    def others(self) -> dict[str, str]:
        return {
            domain.name: "devvm did not make it"
            for domain in self.host.domains.values()
            if domain.facts is None
        }

    def uuid(self, fqdn: str) -> str | None:
        domain = self.host.domains.get(fqdn)
        return domain.uuid if domain else None

    def definition(self, fqdn: str) -> str:
        self.host.definitions.append(self._get(fqdn))
        return f"definition {len(self.host.definitions)} of {fqdn}"

    def disks_in(self, definition: str) -> tuple[DomainDisk, ...]:
        return self.host.definitions[int(definition.split()[1]) - 1].disks

    def define(self, definition: str, change: DomainChange) -> None:
        kind = "kept" if isinstance(change.facts, SavedState) else "vm"
        self.host.step(f"define_{kind}")
        old = self.host.definitions[int(definition.split()[1]) - 1]
        self._put(
            replace(
                old,
                name=change.name or old.name,
                uuid=change.uuid or old.uuid,
                title=change.title or old.title,
                mac=change.mac or old.mac,
                disks=_with(old.disks, change.disks),
                facts=change.facts or old.facts,
                oem_string=change.oem_string or old.oem_string,
                read_only=change.read_only,
            )
        )

    def define_bare(
        self, name: str, uuid: str, volumes: tuple[DomainDisk, ...], facts: SavedState
    ) -> None:
        self.host.step("define_bare")
        self._put(Domain(name=name, uuid=uuid, disks=volumes, facts=facts, read_only=True))

    def undefine(self, fqdn: str) -> None:
        self.host.step("undefine")
        domain = self.host.domains.get(fqdn)
        if domain is not None:
            assert domain.state is VmState.SHUTOFF, f"{fqdn} is undefined while it runs"
            del self.host.domains[fqdn]

    def rename(self, fqdn: str, new: str) -> None:
        self.host.step("rename_domain")
        domain = self._get(fqdn)
        if domain.state is not VmState.SHUTOFF or new in self.host.domains:
            raise OperationError(f"the domain {fqdn} can't be renamed")
        del self.host.domains[fqdn]
        self.host.domains[new] = replace(domain, name=new)

    def remove(self, fqdn: str) -> None:
        self.host.step("remove_domain")
        if fqdn in self.host.domains:
            self._off(fqdn)
            del self.host.domains[fqdn]

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        self.host.step("set_metadata_ready" if metadata.ready else "set_metadata")
        domain = next((d for d in self.host.domains.values() if d.uuid == uuid), None)
        if domain is None:
            raise OperationError(f"{metadata.name}: devvm's metadata can't be written")
        self.host.domains[domain.name] = replace(domain, facts=metadata)

    def start(self, vm: Vm) -> None:
        self.host.step("start")
        domain = self._get(vm.fqdn)
        if domain.state is VmState.SHUTOFF:
            self.host.boot(domain)
        else:
            self.host.domains[vm.fqdn] = replace(domain, state=VmState.RUNNING)

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        self.host.step("shutdown_force" if force else "shutdown")
        domain = self._get(vm.fqdn)
        heard = self.host.answers and domain.state is VmState.RUNNING
        if domain.state is not VmState.SHUTOFF and not heard and not force:
            raise OperationError(
                f"{vm.name} did not shut down within {timeout:.0f} s",
                resolution=f"devvm stop {vm.name} --force",
            )
        self._off(vm.fqdn)

    def console(self, fqdn: str) -> int:
        return 0

    def run(
        self, fqdn: str, argv: Sequence[str], *, timeout: float, stdin: str = ""
    ) -> tuple[int, str]:
        self.host.step(f"agent_{argv[1]}")
        if self.host.guests.get(self._get(fqdn).uuid) is None or not self.host.agent:
            raise OperationError(f"the guest agent of {fqdn} did not answer")
        if self.host.thaws:
            return self.host.thaws, "it can't\n"
        if stdin:  # an identity, for the data disk
            self.host.identify(self._get(fqdn), json.loads(stdin))
        return 0, ""

    def read_file(self, fqdn: str, path: str) -> str | None:
        guest = self.host.guests.get(self._get(fqdn).uuid)
        if guest is None or not self.host.agent:
            return None
        return f"{guest.host_key} root@guest\n" if path == _HOST_KEY_IN_GUEST else None

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        self.host.step("authorize_key")
        guest = self.host.guests.get(self._get(fqdn).uuid)
        if guest is None or not self.host.agent:
            return False
        guest.admitted.add(public_key)
        return True

    def _vm(self, fqdn: str) -> Vm | None:
        domain = self.host.domains.get(fqdn)
        if domain is None or not isinstance(domain.facts, Metadata):
            return None
        lease = self.host.leases.get(domain.facts.name)
        return Vm(
            name=domain.facts.name, fqdn=fqdn, uuid=domain.uuid, state=domain.state,
            driver=Driver.QEMU, memory_mib=2048, cpus=2, metadata=domain.facts,
            lease=lease if self.host.network else None, mac=domain.mac,
            disks=domain.live or domain.disks,
        )  # fmt: skip

    def _put(self, domain: Domain) -> None:
        """Define a domain like libvirt: names and UUIDs are unique, running ones keep running."""
        of_name = self.host.domains.get(domain.name)
        of_uuid = next((d for d in self.host.domains.values() if d.uuid == domain.uuid), None)
        if of_name is not of_uuid:
            raise OperationError(f"the domain {domain.name} can't be defined: it is there already")
        state = (of_name.state, of_name.live) if of_name else (VmState.SHUTOFF, ())
        self.host.domains[domain.name] = replace(domain, state=state[0], live=state[1])

    def _off(self, fqdn: str) -> None:
        domain = self._get(fqdn)
        self.host.domains[fqdn] = replace(domain, state=VmState.SHUTOFF, live=())
        self.host.guests.pop(domain.uuid, None)


class Volumes(_Face):
    """The port `Volumes`."""

    def ensure(self) -> None:
        self.host.step("ensure_pool")
        self.host.pool = True

    def free_bytes(self) -> int:
        return self.host.free

    def all(self) -> list[Volume]:
        if not self.host.pool:
            return []
        return [
            Volume(
                name=name, path=POOL / name, size_bytes=layer.size, used_bytes=1000,
                below=layer.below,
            )
            for name, layer in sorted(self.host.volumes.items())
        ]  # fmt: skip

    def exists(self, name: str) -> bool:
        return self.host.pool and name in self.host.volumes

    def unused(self) -> list[Volume]:
        needed = {layer for path, _ in self.host.users() for layer in self.host.chain(path)}
        ours = re.compile(rf"[a-z0-9-]+\.{re.escape(self.domain)}(\.img|-.*)")
        found = [v for v in self.all() if v.path not in needed and ours.fullmatch(v.name)]
        return sorted(found, key=lambda v: len(self.host.chain(v.path)), reverse=True)

    def users_of(self, name: str) -> list[str]:
        path = POOL / name
        if not self.host.pool:
            return []
        return sorted({user for disk, user in self.host.users() if path in self.host.chain(disk)})

    def sha256(self, name: str) -> str | None:
        layer = self.host.volumes.get(name)
        return layer.sha256 if layer and self.host.pool else None

    def upload(self, name: str, source: Path, detail: Detail, *, overwrite: bool = False) -> Path:
        self.host.step("upload")
        content = source.read_bytes()
        there = self.host.volumes.get(name)
        if there is None or not self.host.pool:
            self.host.take(len(content), f"the volume {name} can't be written")
            there = self.host.volumes[name] = Layer(sha256=hashlib.sha256(content).hexdigest())
            there.size = int.from_bytes(content[24:32], "big")  # as in the qcow2 header
        elif overwrite:
            there.sha256 = hashlib.sha256(content).hexdigest()
        return POOL / name

    def layer(self, name: str, below: Path, size_bytes: int | None = None) -> Path:
        self.host.step("layer")
        what = f"the volume {name} can't be created"
        if below.name not in self.host.volumes:
            raise OperationError(what, details=f"no {below}")
        self.host.take(_EMPTY_LAYER, what)
        size = size_bytes or self.host.volumes[below.name].size
        self.host.volumes[name] = Layer(size=size, below=below)
        return POOL / name

    def remove(self, name: str) -> None:
        self.host.step("remove_volume")
        users = self.users_of(name)
        if users:
            raise OperationError(
                f"the volume {name} was not deleted: it is in use", details=", ".join(users)
            )
        if self.host.pool and self.host.volumes.pop(name, None) is not None:
            self.host.free += _EMPTY_LAYER


class Disks(_Face):
    """The port `Disks`."""

    def of(self, fqdn: str) -> list[Disk]:
        domain = self.host.domains.get(fqdn)
        return [
            Disk(
                device=disk.device, role=disk.role, path=disk.path,
                size_bytes=layer.size if layer else 0, used_bytes=1000 if layer else 0,
            )
            for disk in (domain.disks if domain else ())
            for layer in [self.host.volumes.get(disk.path.name) if self.host.pool else None]
        ]  # fmt: skip

    def split(self, vm: Vm, on_top: Mapping[str, Path]) -> str:
        self.host.step("split_disks")
        domain = self._get(vm.fqdn)
        live = _with(domain.live, on_top)
        disks = _with(domain.disks, on_top)
        self.host.domains[vm.fqdn] = replace(domain, disks=disks, live=live)
        self.host.refuse_damage()
        if domain.state is VmState.SHUTOFF:
            return "off"
        return "frozen" if self.host.agent else "crash"

    def move(self, vm: Vm, role: str, destination: Path) -> None:
        self.host.step("move_disk")
        top = self._running_disk(vm, role)
        new = self._volume(destination)
        assert new.below == self.host.volumes[top.name].below
        new.files = dict(self.host.volumes[top.name].files)
        self._put_on(vm.fqdn, {role: destination})

    def commit(self, vm: Vm, role: str, layer: Path) -> None:
        self.host.step("commit_layers")
        top = self._running_disk(vm, role)
        assert layer in self.host.chain(top)[1:]
        below = {
            v.below for n, v in self.host.volumes.items() if POOL / n not in self.host.chain(top)
        }
        assert layer not in below, f"{layer} is under something else"
        merged: dict[str, str] = {}
        for path in reversed(self.host.chain(top)[: self.host.chain(top).index(layer) + 1]):
            merged |= self.host.volumes[path.name].files
        self.host.volumes[layer.name].files = merged
        self.host.volumes[layer.name].size = self.host.volumes[top.name].size
        self._put_on(vm.fqdn, {role: layer})

    def resize(self, vm: Vm, role: str, size_bytes: int) -> None:
        self.host.step("resize_disk")
        domain = self._get(vm.fqdn)
        path = next(disk.path for disk in domain.disks if disk.role == role)
        if size_bytes < self._volume(path).size:
            raise OperationError(f"the volume {path.name} can't be resized", details="it is larger")
        self._volume(path).size = size_bytes

    def _put_on(self, fqdn: str, paths: Mapping[str, Path]) -> None:
        domain = self._get(fqdn)
        disks, live = _with(domain.disks, paths), _with(domain.live, paths)
        self.host.domains[fqdn] = replace(domain, disks=disks, live=live)

    def _volume(self, path: Path) -> Layer:
        if path.name not in self.host.volumes:
            raise OperationError(f"there is no volume {path}")
        return self.host.volumes[path.name]

    def _running_disk(self, vm: Vm, role: str) -> Path:
        domain = self._get(vm.fqdn)
        if domain.state is not VmState.RUNNING:
            raise OperationError(f"the disks of {vm.fqdn} can't be changed: it does not run")
        return next(disk.path for disk in domain.live if disk.role == role)


class Memory(_Face):
    """The port `Memory`."""

    def save(self, fqdn: str, name: str) -> Path:
        self.host.step("save_memory")
        domain = self._get(fqdn)
        if domain.state is not VmState.RUNNING:
            raise OperationError(f"the memory of {fqdn} can't be saved")
        self.host.take(_EMPTY_LAYER, f"the memory of {fqdn} can't be saved")
        self.host.volumes[name] = Layer(saved=domain)
        self.host.domains[fqdn] = replace(domain, state=VmState.SHUTOFF, live=())
        self.host.guests.pop(domain.uuid, None)
        return POOL / name

    def definition(self, path: Path) -> str:
        self.host.definitions.append(self._saved(path))
        return f"definition {len(self.host.definitions)} of {path.name}"

    def restore(self, path: Path, change: DomainChange) -> None:
        self.host.step("restore_memory")
        saved = self._saved(path)
        domain = next(d for d in self.host.domains.values() if d.uuid == change.uuid)
        assert domain.state is VmState.SHUTOFF
        assert (domain.name, domain.mac) == (change.name, change.mac)
        assert {disk.role: disk.path for disk in domain.disks} == change.disks
        frozen = {disk.role: disk.path for disk in saved.disks}
        spare = "spare-" in saved.name  # its data disk is mounted
        for disk in domain.disks:
            below = self.host.chain(disk.path)[1:2]
            if disk.role == ROOT or spare:
                assert below == [frozen[disk.role]], f"its memory does not fit its {disk.role}"
        self.host.boot(domain)

    def _saved(self, path: Path) -> Domain:
        layer = self.host.volumes.get(path.name)
        if layer is None or layer.saved is None:
            raise OperationError("the saved memory can't be used", details=f"{path} is gone")
        return layer.saved


def _with(disks: tuple[DomainDisk, ...], paths: Mapping[str, Path]) -> tuple[DomainDisk, ...]:
    return tuple(replace(disk, path=paths.get(disk.role, disk.path)) for disk in disks)


# mypy checks these against the ports
_host: services.Host = Hardware(Host(), "")
_network: services.Network = Network(Host(), "")
_domains: services.Domains = Domains(Host(), "")
_volumes: services.Volumes = Volumes(Host(), "")
_disks: services.Disks = Disks(Host(), "")
_memory: services.Memory = Memory(Host(), "")
