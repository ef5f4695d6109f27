"""A libvirt host for one test: the library's `test` driver, which runs in this process."""

from devvm.adapters.libvirt.connection import Connection

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
