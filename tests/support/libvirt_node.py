"""A libvirt host for one test: libvirt's `test` driver, which runs in this process."""

from pathlib import Path

from devvm.adapters.libvirt.connection import Connection
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.network import Network
from devvm.config import Config

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


def connect(tmp_path):
    path = tmp_path / "node.xml"
    path.write_text(NODE)
    connection = Connection(f"test://{path}")
    connection.get()
    return connection


def define(connection, name):
    return connection.get().defineXML(DOMAIN.format(name=name))


def domains_on(connection, *, network=None):
    """The domains port; domains in the pool named in `DOMAIN` are devvm's."""
    config = Config(pool_path=Path("/pool"))
    return Domains(connection, config, network or Network(connection, config.network))
