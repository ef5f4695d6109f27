"""A libvirt host for one test: libvirt's `test` driver, which runs in this process."""

from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import metadata
from devvm.adapters.libvirt.connection import Connection
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.network import Network
from devvm.config import Config
from devvm.domain.vm import Metadata

NODE = """<node>
  <cpu><mhz>2000</mhz><model>x86_64</model><active>4</active><nodes>1</nodes></cpu>
  <memory>8388608</memory>
</node>"""

DOMAIN = """<domain type='test'>
  <name>{name}</name>
  <memory unit='MiB'>1024</memory>
  <vcpu>2</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <source file='/pool/{name}.img'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/{name}-data.qcow2'/><target dev='vdb' bus='virtio'/>
      <serial>devvm-data</serial>
    </disk>
  </devices>
</domain>"""


def connect(tmp_path: Path) -> Connection:
    path = tmp_path / "node.xml"
    path.write_text(NODE)
    connection = Connection(f"test://{path}")
    connection.get()
    return connection


def define(connection: Connection, name: str) -> libvirt.virDomain:
    return connection.get().defineXML(DOMAIN.format(name=name))


def domains_on(connection: Connection, *, network: Network | None = None) -> Domains:
    """The domains port; domains in the pool named in `DOMAIN` are devvm's."""
    config = Config(pool_path=Path("/pool"))
    return Domains(connection, config, network or Network(connection, config.network))


def fleet(count: int, pool: Path | str) -> str:
    """The XML of a node with devvm's network and running VMs of devvm's: vm0000, vm0001 ...

    Args:
        count: How many; at most 10,000.
        pool: The folder with their disks.
    """
    node = ET.fromstring(NODE)
    network = ET.SubElement(node, "network")
    ET.SubElement(network, "name").text = "devvm"
    ET.SubElement(network, "bridge", name="devvm")
    ip = ET.SubElement(network, "ip", address="10.219.0.1", prefix="16")
    dhcp = ET.SubElement(ip, "dhcp")
    for number in range(count):
        name, high, low = f"vm{number:04}", *divmod(number, 250)
        mac = f"52:54:00:00:{high:02x}:{low:02x}"
        ET.SubElement(dhcp, "host", mac=mac, name=name, ip=f"10.219.{high}.{low + 2}")
        node.append(ET.fromstring(_vm(name, mac, pool)))
    return ET.tostring(node, encoding="unicode")


def _vm(name: str, mac: str, pool: Path | str) -> str:
    facts = Metadata(
        name=name, engineer="jane", release="2026.11.23-1a2b3c4d5e6f",
        created_at="2026-11-23T02:00:00+00:00", ready=True, git_name="Jane",
        git_email="jane@example.test", host_key="ssh-ed25519 AAAA",
        authorized_keys=("ssh-rsa BBBB",),
    )  # fmt: skip
    domain = ET.fromstring(DOMAIN.replace("/pool", str(pool)).format(name=f"{name}.devvm.test"))
    ET.SubElement(domain, "uuid").text = str(uuid5(NAMESPACE_DNS, name))
    ET.SubElement(domain, "metadata").append(metadata.to_element(facts))
    devices = domain.find("devices")
    assert devices is not None
    card = ET.SubElement(devices, "interface", type="network")
    ET.SubElement(card, "mac", address=mac)
    ET.SubElement(card, "source", network="devvm")
    return ET.tostring(domain, encoding="unicode")
