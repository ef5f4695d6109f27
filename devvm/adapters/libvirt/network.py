"""devvm's network: a bridge, DHCP and DNS from libvirt's dnsmasq, and the VMs' static leases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import routes
from devvm.adapters.libvirt.connection import Connection, if_exists, translated
from devvm.config import NetworkConfig
from devvm.domain.errors import HostNotReadyError
from devvm.domain.vm import Lease

_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"


def gateway(network: IPv4Network) -> IPv4Address:
    """The host's own address on the network."""
    return network[1]


def fixed_range(network: IPv4Network) -> tuple[int, int]:
    """The offsets in the network for devvm's VMs, end exclusive: the first three quarters."""
    return 2, network.num_addresses * 3 // 4


def network_xml(config: NetworkConfig) -> str:
    """The network's definition.

    The bridge has the network's name, so that it is the same after each restart. The last quarter
    of the range is for guests other than devvm's. Without forwarding, the DNS server only answers
    for the network's own names, so that no query of a guest leaves the host.
    """
    net = IPv4Network(config.address)
    root = ET.Element("network")
    ET.SubElement(root, "name").text = config.name
    if config.forward != "none":
        ET.SubElement(root, "forward", mode=config.forward)
    ET.SubElement(root, "bridge", name=config.name, stp="off", delay="0")
    ET.SubElement(root, "domain", name=config.domain, localOnly="yes")
    ip = ET.SubElement(root, "ip", address=str(gateway(net)), prefix=str(net.prefixlen))
    dhcp = ET.SubElement(ip, "dhcp")
    _, last = fixed_range(net)
    ET.SubElement(dhcp, "range", start=str(net[last]), end=str(net[-2]))
    if config.forward == "none":
        ET.register_namespace("dnsmasq", _DNSMASQ)
        options = ET.SubElement(root, f"{{{_DNSMASQ}}}options")
        ET.SubElement(options, f"{{{_DNSMASQ}}}option", value="no-resolv")
    return ET.tostring(root, encoding="unicode")


def differences(config: NetworkConfig, xml: str) -> list[str]:
    """How an existing network differs from the configured one, one sentence each."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer
    found: list[str] = []
    domain = root.find("domain")
    name = domain.get("name") if domain is not None else None
    if name != config.domain:
        found.append(f"its domain is {name}; the setting network.domain is {config.domain}")
    ranges = [str(n) for n in _ranges(root)]
    if str(IPv4Network(config.address)) not in ranges:
        has = ", ".join(ranges) or "none"
        found.append(f"its range is {has}; the setting network.address is {config.address}")
    forward = root.find("forward")
    mode = forward.get("mode", "nat") if forward is not None else "none"
    if mode != config.forward:
        found.append(f"its forwarding is {mode}; the setting network.forward is {config.forward}")
    return found


def leases(xml: str, domain: str) -> dict[str, Lease]:
    """The static leases in a network's definition, by VM name."""
    return {
        host.get("name", ""): Lease(
            mac=host.get("mac", ""),
            address=host.get("ip", ""),
            fqdn=f"{host.get('name')}.{domain}",
        )
        for host in ET.fromstring(xml).iterfind("ip/dhcp/host")  # noqa: S314 - libvirt's own answer
    }


def choose(name: str, config: NetworkConfig, taken: dict[str, Lease], busy: set[str]) -> Lease:
    """Choose a MAC and an address for a VM.

    Both are derived from the VM's FQDN, so that a VM that is created again gets the same ones, even
    if the DHCP server still has the old lease; if one is taken, the next free one.

    Args:
        name: The VM.
        config: The network.
        taken: The existing static leases.
        busy: Addresses that the DHCP server has leased to others.

    Raises:
        HostNotReadyError: no address is left.
    """
    fqdn = f"{name}.{config.domain}"
    digest = hashlib.sha256(fqdn.encode()).digest()
    net = IPv4Network(config.address)
    first, last = fixed_range(net)
    addresses = {lease.address for lease in taken.values()} | busy
    start = int.from_bytes(digest[:4], "big")
    for step in range(last - first):
        address = str(net[first + (start + step) % (last - first)])
        if address not in addresses:
            break
    else:
        raise HostNotReadyError(
            f"the network {config.name} has no address left for {name}",
            details=f"{len(taken)} of {last - first} addresses of {config.address} are taken",
            resolution="destroy a VM that you don't need (devvm destroy), or set a larger "
            "network.address",
        )
    macs = {lease.mac for lease in taken.values()}
    number = int.from_bytes(digest[4:7], "big")
    while (
        mac := f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    ) in macs:
        number = (number + 1) % (1 << 24)
    return Lease(mac=mac, address=address, fqdn=fqdn)


class Network:
    """Implements `Network` for one libvirt host."""

    def __init__(self, connection: Connection, config: NetworkConfig) -> None:
        self._connection = connection
        self._config = config

    def ensure(self) -> None:
        """Create the network if it doesn't exist, start it, and mark it for autostart.

        Raises:
            HostNotReadyError: another network has the name, or the host routes the range elsewhere.
        """
        name = self._config.name
        with translated(f"the network {name} can't be started", resolution="devvm setup"):
            network = self._find()
            if network is None:
                network = self._make()
            self._refuse_if_different(network)
            if not network.isActive():
                self._start(network)
            if not network.autostart():
                network.setAutostart(1)

    def leases(self) -> dict[str, Lease]:
        """The static leases, by VM name."""
        with translated(f"the network {self._config.name} can't be read"):
            network = self._find()
            return {} if network is None else leases(network.XMLDesc(), self._config.domain)

    def reserve(self, name: str, mac: str | None = None) -> Lease:
        """Reserve a MAC and an address for a VM, or return its existing lease.

        If `mac` is given, a lease with another MAC is replaced.
        """
        with translated(f"{name}: no address can be reserved"):
            network = self._get()
            taken = leases(network.XMLDesc(), self._config.domain)
            found = taken.pop(name, None)
            if found is not None and mac in (None, found.mac):
                return found
            if found is not None:
                self._update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, name, found)
            wanted = mac or choose(name, self._config, taken, set()).mac
            busy = {a for a, owner in _given(network) if owner != wanted}
            lease = replace(choose(name, self._config, taken, busy), mac=wanted)
            self._update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, name, lease)
            return lease

    def release(self, name: str) -> None:
        """Release a VM's lease, if it has one."""
        with translated(f"{name}: its address can't be released"):
            network = self._find()
            lease = self.leases().get(name)
            if network is not None and lease is not None:
                self._update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, name, lease)

    def _update(self, network: libvirt.virNetwork, command: int, name: str, lease: Lease) -> None:
        host = ET.Element("host", mac=lease.mac, name=name, ip=lease.address)
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        if network.isActive():
            flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        network.update(command, section, -1, ET.tostring(host, encoding="unicode"), flags)

    def _refuse_if_different(self, network: libvirt.virNetwork) -> None:
        found = differences(self._config, network.XMLDesc())
        if found:
            name = self._config.name
            raise HostNotReadyError(
                f"there is another libvirt network named {name}",
                details="\n".join(found),
                resolution="set network.name to another name in config.toml, or, if nothing uses "
                f"the network: virsh net-destroy {name}; virsh net-undefine {name}",
            )

    def _make(self) -> libvirt.virNetwork:
        """Define and start the network; undefine it if it can't be started."""
        network = self._connection.get().networkDefineXML(network_xml(self._config))
        try:
            self._start(network)
        except BaseException:
            network.undefine()
            raise
        return network

    def _start(self, network: libvirt.virNetwork) -> None:
        if not _is_local(self._connection.uri):
            network.create()
            return
        wanted = IPv4Network(self._config.address)
        taken = routes.conflict(routes.current(), wanted, self._config.name)
        if taken is not None:
            raise HostNotReadyError(
                f"the host already uses {wanted}, the range of devvm's network",
                details=f"it reaches {taken.network} through {taken.interface}",
                resolution="set network.address to a free private range in config.toml, "
                "for example 10.219.0.0/24",
            )
        with routes.fenced_range_passes(wanted):
            network.create()

    def _find(self) -> libvirt.virNetwork | None:
        return if_exists(self._get)

    def _get(self) -> libvirt.virNetwork:
        return self._connection.get().networkLookupByName(self._config.name)


def _is_local(uri: str) -> bool:
    return "+" not in uri.split(":", 1)[0] and uri.partition("://")[2].startswith("/")


def _given(network: libvirt.virNetwork) -> Iterator[tuple[str, str]]:
    """The DHCP server's current leases: pairs of address and MAC."""
    try:
        current = network.DHCPLeases()
    except libvirt.libvirtError:  # a driver without DHCP, or the network is down
        return
    for lease in current:
        yield lease["ipaddr"], lease["mac"]


def _ranges(root: ET.Element) -> Iterator[IPv4Network]:
    for ip in root.iterfind("ip"):
        if ip.get("family", "ipv4") == "ipv4":
            size = ip.get("prefix") or ip.get("netmask") or "32"
            yield IPv4Network(f"{ip.get('address')}/{size}", strict=False)
