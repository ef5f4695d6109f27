"""Domains: listing, definitions, power, removal, consoles and agents."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import agent
from devvm.adapters.libvirt import definition as definitions
from devvm.adapters.libvirt import metadata as facts
from devvm.adapters.libvirt.connection import NOT_FOUND, Connection, translated
from devvm.adapters.libvirt.network import Network
from devvm.config import Config
from devvm.domain.disk import DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Lease, Metadata, Vm, VmState
from devvm.system import process

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: VmState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: VmState.BLOCKED,
    libvirt.VIR_DOMAIN_PAUSED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: VmState.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: VmState.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: VmState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmState.SUSPENDED,
}
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)
_UNITS_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "KiB": 1, "k": 1, "MiB": 1024, "M": 1024,
              "GiB": 1024**2, "G": 1024**2}  # fmt: skip
_POLL = 0.1
#: Seconds; a guest that was asked to shut down while it booted may have missed it.
_ASK_AGAIN = 20.0


def parse(xml: str, state: VmState, leases: dict[str, Lease]) -> Vm | None:
    """The VM in a domain's XML; None if the domain isn't a VM of devvm's."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
    metadata = facts.vm_of(domain)
    if metadata is None:
        return None
    memory = domain.find("memory")
    assert memory is not None
    return Vm(
        name=metadata.name,
        fqdn=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", ""),
        state=state,
        driver=Driver.KVM if domain.get("type") == "kvm" else Driver.QEMU,
        memory_mib=round(int(memory.text or 0) * _UNITS_KIB[memory.get("unit", "KiB")] / 1024),
        cpus=int(domain.findtext("vcpu", "1")),
        metadata=metadata,
        lease=leases.get(metadata.name),
        mac=definitions.mac(domain),
        disks=definitions.disks(domain),
    )


def _kept(xml: str) -> SavedState | None:
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
    kept = facts.kept_of(domain)
    return None if kept is None else replace(kept, disks=definitions.disks(domain))


class Domains:
    """Implements `Domains` for one libvirt host.

    Args:
        connection: The connection to the host.
        config: Names the pool of the disks and the VMs' DNS domain.
        network: The network with the VMs' leases.
    """

    def __init__(self, connection: Connection, config: Config, network: Network) -> None:
        self._connection = connection
        self._config = config
        self._network = network

    def vms(self) -> list[Vm]:
        """The VMs of this configuration, sorted by name, except those with unreadable metadata."""
        leases = self._network.leases()
        found = []
        for xml, state in self._all(with_facts=True):
            with suppress(OperationError):
                vm = parse(xml, state, leases)
                if vm is not None and self._is_ours(vm.disks):
                    found.append(vm)
        return sorted(found, key=lambda vm: (vm.name, vm.fqdn))

    def vm(self, name: str) -> Vm | None:
        """A VM by its name; None if it doesn't exist or isn't devvm's.

        Raises:
            OperationError: this devvm can't read its metadata.
        """
        fqdn = f"{name}.{self._config.network.domain}"
        leases = self._network.leases()
        domain = self._find(fqdn)
        if domain is None:
            return None
        with translated(f"the domain {fqdn} can't be read"):
            return parse(domain.XMLDesc(), _state(domain), leases)

    def saved_states(self) -> list[SavedState]:
        """All saved states, oldest first, except those with unreadable metadata."""
        found = []
        for xml, _ in self._all(with_facts=True):
            with suppress(OperationError):
                kept = _kept(xml)
                if kept is not None and self._is_ours(kept.disks):
                    found.append(kept)
        return sorted(found, key=lambda kept: (kept.kept_at, kept.id))

    def saved_state(self, name: str) -> SavedState | None:
        """The saved state in a domain; None if there is no such domain, or it isn't one."""
        domain = self._find(name)
        if domain is None:
            return None
        with translated(f"the domain {name} can't be read"):
            kept = _kept(domain.XMLDesc())
        return kept if kept is not None and self._is_ours(kept.disks) else None

    def others(self) -> dict[str, str]:
        """The other domains: `{name: why it is neither a VM of devvm's nor a saved state}`."""
        found = {}
        for xml, _ in self._all():
            domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
            try:
                if facts.vm_of(domain) is None and facts.kept_of(domain) is None:
                    found[domain.findtext("name", "")] = "devvm did not make it"
            except OperationError as error:
                found[domain.findtext("name", "")] = f"{error.brief}: {error.details}"
        return found

    def uuid(self, fqdn: str) -> str | None:
        """The UUID of a domain, whether devvm's or not; None if it doesn't exist."""
        domain = self._find(fqdn)
        return None if domain is None else str(domain.UUIDString())

    def definition(self, fqdn: str) -> str:
        """A domain's definition for its next start, as XML."""
        with translated(f"the domain {fqdn} can't be read"):
            return str(self._get(fqdn).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def disks_in(self, definition: str) -> tuple[DomainDisk, ...]:
        """The disks that a definition names."""
        return definitions.disks_in(definition)

    def define(self, definition: str, change: DomainChange) -> None:
        """Define a domain from `definition` with `change` applied; replaces one with its UUID."""
        name = change.name or ET.fromstring(definition).findtext("name")  # noqa: S314 - libvirt's
        with translated(f"the domain {name} can't be defined"):
            self._connection.get().defineXML(definitions.changed(definition, change))

    def define_bare(
        self, name: str, uuid: str, volumes: tuple[DomainDisk, ...], facts: SavedState
    ) -> None:
        """Define a domain that exists only to own volumes."""
        change = DomainChange(facts=facts, read_only=True)
        self.define(definitions.bare(name, uuid, volumes), change)

    def rename(self, fqdn: str, new: str) -> None:
        """Rename a domain that is off."""
        with translated(f"the domain {fqdn} can't be renamed"):
            self._get(fqdn).rename(new)

    def undefine(self, fqdn: str) -> None:
        """Undefine a domain that is off, if it exists; its volumes are kept."""
        domain = self._find(fqdn)
        if domain is not None:
            with translated(f"the domain {fqdn} can't be undefined"):
                domain.undefineFlags(_UNDEFINE)

    def disk_sources(self, fqdn: str) -> tuple[DomainDisk, ...]:
        """The disks in a domain's definition for its next start; empty if it doesn't exist."""
        domain = self._find(fqdn)
        if domain is None:
            return ()
        with translated(f"the domain {fqdn} can't be read"):
            return definitions.disks_in(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def users(self) -> dict[Path, set[str]]:
        """Names of all domains by the files of their disks, now and at their next start."""
        found: dict[Path, set[str]] = {}
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            for xml, _ in self._all(flags):
                domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
                for disk in definitions.disks(domain):
                    found.setdefault(disk.path, set()).add(domain.findtext("name", ""))
        return found

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write devvm's metadata to a domain, live and persistent."""
        with translated(f"{metadata.name}: devvm's metadata can't be written to the domain"):
            domain = self._connection.get().lookupByUUIDString(uuid)
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                facts.to_xml(metadata),
                facts.PREFIX,
                facts.NAMESPACE,
                flags,
            )

    def start(self, vm: Vm) -> None:
        """Power on or resume a VM, unless it is running."""
        with translated(f"{vm.fqdn} can't be started"):
            domain = self._get(vm.fqdn)
            state = _state(domain)
            try:
                if state is VmState.PAUSED:
                    domain.resume()
                elif state is VmState.SUSPENDED:
                    domain.pMWakeup()
                elif not domain.isActive():
                    domain.create()
            except libvirt.libvirtError:
                # Another start may have finished meanwhile, such as that of a killed devvm. Until
                # then, the domain was paused or off.
                if _state(domain) is not VmState.RUNNING:
                    raise

    def shutdown(self, vm: Vm, *, timeout: float, force: bool) -> None:
        """Ask the guest to shut down and wait for it.

        With `force`, power it off after `timeout` seconds.

        Raises:
            OperationError: the guest did not shut down in time, and `force` was not given.
        """
        with translated(f"{vm.fqdn} can't be stopped"):
            domain = self._get(vm.fqdn)
            deadline = time.monotonic() + timeout
            asked = float("-inf")
            while domain.isActive() and time.monotonic() < deadline:
                if time.monotonic() - asked > _ASK_AGAIN:
                    _ask_to_shut_down(domain)
                    asked = time.monotonic()
                time.sleep(_POLL)
            if not domain.isActive():
                return
            if not force:
                raise OperationError(
                    f"{vm.name} did not shut down within {timeout:.0f} s",
                    details="the guest was asked by its agent or the power button, but is "
                    "still running",
                    resolution=f"devvm stop {vm.name} --force",
                )
            _pull_the_plug(domain)

    def remove(self, fqdn: str) -> None:
        """Power off and undefine a domain, if it exists; its volumes are kept."""
        domain = self._find(fqdn)
        if domain is None:
            return
        with translated(f"the domain {fqdn} can't be removed"):
            try:
                if domain.isActive():
                    _pull_the_plug(domain)
                domain.undefineFlags(_UNDEFINE)
            except libvirt.libvirtError as error:
                # A transient domain is gone once it is powered off.
                if error.get_error_code() not in NOT_FOUND:
                    raise

    def console(self, fqdn: str) -> int:
        """Attach this terminal to the guest's serial console; returns virsh's exit code."""
        return process.interactive(["virsh", "-c", self._connection.uri, "console", fqdn])

    def run(
        self, fqdn: str, argv: Sequence[str], *, timeout: float, stdin: str = ""
    ) -> tuple[int, str]:
        """Run a program in a running guest through its agent, as root, with `stdin` as its input.

        Returns:
            Its exit code, and what it wrote to standard error.

        Raises:
            OperationError: the agent doesn't answer, or the program doesn't end within `timeout`
                seconds.
        """
        return agent.run(self._known(fqdn), argv, timeout=timeout, stdin=stdin)

    def read_file(self, fqdn: str, path: str) -> str | None:
        """Read a small file through a running guest's agent; None if that fails."""
        return agent.read_file(self._known(fqdn), path)

    def authorize_key(self, fqdn: str, login: str, public_key: str) -> bool:
        """Authorize a key for an account through a running guest's agent; False if that fails."""
        return agent.authorize_key(self._known(fqdn), login, public_key)

    def _all(self, flags: int = 0, *, with_facts: bool = False) -> Iterator[tuple[str, VmState]]:
        """Definitions and states of all domains, or only of those with facts of devvm's."""
        with translated("the domains can't be listed"):
            for domain in self._connection.get().listAllDomains():
                try:
                    xml = domain.XMLDesc(flags)
                    if not with_facts or facts.NAMESPACE in xml:
                        yield xml, _state(domain)
                except libvirt.libvirtError as error:
                    if error.get_error_code() not in NOT_FOUND:  # deleted since it was listed
                        raise

    def _find(self, fqdn: str) -> libvirt.virDomain | None:
        with translated(f"the domain {fqdn} can't be looked up"):
            try:
                return self._connection.get().lookupByName(fqdn)
            except libvirt.libvirtError as error:
                if error.get_error_code() in NOT_FOUND:
                    return None
                raise

    def _known(self, fqdn: str) -> libvirt.virDomain:
        with translated(f"the domain {fqdn} can't be looked up"):
            return self._get(fqdn)

    def _get(self, fqdn: str) -> libvirt.virDomain:
        return self._connection.get().lookupByName(fqdn)

    def _is_ours(self, disks: tuple[DomainDisk, ...]) -> bool:
        """Whether a disk is in our pool. The host may have VMs of other configurations."""
        return any(disk.path.parent == self._config.pool_path for disk in disks)


def _state(domain: libvirt.virDomain) -> VmState:
    return _STATES.get(domain.state()[0], VmState.SHUTOFF)


def _pull_the_plug(domain: libvirt.virDomain) -> None:
    """Power off a domain. Does nothing if it has shut down by itself in the meantime."""
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _ask_to_shut_down(domain: libvirt.virDomain) -> None:
    try:
        domain.shutdown()
    except libvirt.libvirtError as error:
        # It has shut down by itself in the meantime, or its agent doesn't answer yet.
        if error.get_error_code() not in {
            libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        }:
            raise
