"""Domains: listing, power, removal."""

from __future__ import annotations

import time
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import metadata as facts
from devvm.adapters.libvirt.connection import NOT_FOUND, Connection, translated
from devvm.errors import OperationError
from devvm.model import Driver, Lease, Metadata, Vm, VmState

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
_POLL = 0.5
#: A guest that was asked while it booted may have missed it.
_ASK_AGAIN = 20.0


def parse(xml: str, state: VmState, leases: dict[str, Lease]) -> Vm | None:
    """A VM from a domain's XML; None where the domain is not devvm's."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
    metadata = facts.from_domain(domain)
    if metadata is None:
        return None
    fqdn = domain.findtext("name", "")
    disks = [source.get("file", "") for source in domain.iterfind("devices/disk/source")]
    root = next((d for d in disks if Path(d).name == f"{fqdn}.img"), None)
    memory = domain.find("memory")
    assert memory is not None
    return Vm(
        name=metadata.name,
        fqdn=fqdn,
        uuid=domain.findtext("uuid", ""),
        state=state,
        driver=Driver.KVM if domain.get("type") == "kvm" else Driver.QEMU,
        memory_mib=round(int(memory.text or 0) * _UNITS_KIB[memory.get("unit", "KiB")] / 1024),
        cpus=int(domain.findtext("vcpu", "1")),
        metadata=metadata,
        lease=leases.get(metadata.name),
        root_volume=Path(root) if root else None,
    )


class Domains:
    """The domains of one libvirt host."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def vms(self, leases: dict[str, Lease]) -> list[Vm]:
        """Every VM of devvm's, by name."""
        found: list[Vm] = []
        with translated("the VMs can't be listed"):
            for domain in self._connection.get().listAllDomains():
                try:
                    vm = parse(domain.XMLDesc(), _state(domain), leases)
                except libvirt.libvirtError as error:
                    if error.get_error_code() in NOT_FOUND:
                        continue  # deleted since it was listed
                    raise
                if vm is not None:
                    found.append(vm)
        return sorted(found, key=lambda vm: vm.name)

    def vm(self, fqdn: str, leases: dict[str, Lease]) -> Vm | None:
        """The VM whose domain has this name; None where there is none or it is not devvm's."""
        domain = self._find(fqdn)
        if domain is None:
            return None
        with translated(f"the domain {fqdn} can't be read"):
            return parse(domain.XMLDesc(), _state(domain), leases)

    def uuid(self, fqdn: str) -> str | None:
        """The UUID of the domain of this name, whoever made it; None where there is none."""
        domain = self._find(fqdn)
        return None if domain is None else str(domain.UUIDString())

    def disk_sources(self, fqdn: str) -> list[tuple[str, Path]]:
        """Device names and files of a domain's disks."""
        domain = self._find(fqdn)
        if domain is None:
            return []
        with translated(f"the domain {fqdn} can't be read"):
            return [
                (disk[0], Path(disk[1]))
                for disk in _disks(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            ]

    def users_of(self, files: set[str]) -> list[str]:
        """Names of the domains that have one of these files as a disk."""
        with translated("the domains can't be listed"):
            return sorted(
                domain.name()
                for domain in self._connection.get().listAllDomains()
                if any(file in files for _, file in _disks(domain.XMLDesc()))
            )

    def set_metadata(self, uuid: str, metadata: Metadata) -> None:
        """Write what devvm knows into the domain, now and for good."""
        with translated(f"{metadata.name}: devvm's facts can't be written into the domain"):
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

    def start(self, fqdn: str) -> None:
        """Power on; nothing where it runs."""
        with translated(f"{fqdn} can't be started"):
            domain = self._get(fqdn)
            state = _state(domain)
            if state is VmState.PAUSED:
                domain.resume()
            elif state is VmState.SUSPENDED:
                domain.pMWakeup()
            elif not domain.isActive():
                domain.create()

    def shutdown(self, fqdn: str, *, timeout: float, force: bool) -> None:
        """Ask the guest to shut down and wait for it.

        With `force`, pull the plug when `timeout` seconds have passed.

        Raises:
            OperationError: the guest did not shut down in time, and `force` was not given.
        """
        with translated(f"{fqdn} can't be stopped"):
            domain = self._get(fqdn)
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
                name = fqdn.split(".", 1)[0]
                raise OperationError(
                    f"{name} did not shut down within {timeout:.0f} s",
                    details="the guest was asked by its agent or the power button, and still runs",
                    resolution=f"devvm stop {name} --force",
                )
            domain.destroy()

    def remove(self, fqdn: str) -> None:
        """Power off and undefine; nothing where there is no such domain."""
        domain = self._find(fqdn)
        if domain is None:
            return
        with translated(f"the domain {fqdn} can't be removed"):
            try:
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(_UNDEFINE)
            except libvirt.libvirtError as error:
                # A transient domain is gone once it is powered off.
                if error.get_error_code() not in NOT_FOUND:
                    raise

    def _find(self, fqdn: str) -> libvirt.virDomain | None:
        with translated(f"the domain {fqdn} can't be looked up"):
            try:
                return self._connection.get().lookupByName(fqdn)
            except libvirt.libvirtError as error:
                if error.get_error_code() in NOT_FOUND:
                    return None
                raise

    def _get(self, fqdn: str) -> libvirt.virDomain:
        return self._connection.get().lookupByName(fqdn)


def _state(domain: libvirt.virDomain) -> VmState:
    return _STATES.get(domain.state()[0], VmState.SHUTOFF)


def _disks(xml: str) -> list[tuple[str, str]]:
    found = []
    for disk in ET.fromstring(xml).iterfind("devices/disk"):  # noqa: S314 - libvirt's own answer
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and source.get("file"):
            found.append((target.get("dev", ""), source.get("file", "")))
    return found


def _ask_to_shut_down(domain: libvirt.virDomain) -> None:
    try:
        domain.shutdown()
    except libvirt.libvirtError as error:
        # It shut down by itself in the meantime; or its agent does not answer yet.
        if error.get_error_code() not in {
            libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        }:
            raise
