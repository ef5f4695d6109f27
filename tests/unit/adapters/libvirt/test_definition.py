"""A domain's definition, and changing it into another one: libvirt's own XML."""

from pathlib import Path
from xml.etree import ElementTree as ET

from devvm.adapters.libvirt import definition
from devvm.adapters.libvirt.metadata import NAMESPACE, kept_of, to_xml, vm_of
from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.saved_state import DomainChange, Purpose, SavedState
from devvm.domain.vm import Metadata

XML = """<domain type='qemu'>
  <name>dev1.devvm.test</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <metadata><other:x xmlns:other='urn:x'>stays</other:x></metadata>
  <memory unit='MiB'>1024</memory>
  <sysinfo type='smbios'><oemStrings>
    <entry>something else</entry><entry>io.systemd.credential.binary:tmpfiles.extra=OLD</entry>
  </oemStrings></sysinfo>
  <os><type>hvm</type><smbios mode='sysinfo'/></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/pool/root.2.qcow2' index='1'><privateData/></source>
      <backingStore type='file'><format type='qcow2'/><source file='/pool/root.1.qcow2'/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/data.qcow2'/><target dev='vdb' bus='virtio'/><serial>devvm-data</serial>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/scratch.qcow2'/><target dev='vdc' bus='virtio'/><serial>scratch</serial>
    </disk>
    <disk type='file' device='cdrom'><source file='/x.iso'/><target dev='hda'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/></interface>
  </devices>
</domain>"""
VM = Metadata(
    name="dev1", engineer="ann", release="2026.11.23-1a2b3c4d5e6f", ready=True, generation=3,
    created_at="2026-11-23T10:00:00+00:00", authorized_keys=("ssh-ed25519 A <a&b>", "ssh-rsa B"),
    git_name="Ann 'Lee'", git_email="ann@x.test", host_key="ssh-ed25519 HOST",
)  # fmt: skip
KEPT = SavedState(
    id="3f9a2c1b", purpose=Purpose.SNAPSHOT, label="before", kept_at="2026-11-23T11:00:00+00:00",
    expires_at=None, uuid="u", mac="52:54:00:00:00:01", consistency="frozen", vm=VM,
)  # fmt: skip


def changed(**change):
    return ET.fromstring(definition.changed(XML, DomainChange(**change)))


def paths(domain):
    return {disk.role: str(disk.path) for disk in definition.disks(domain)}


def test_disks_are_told_by_their_serial_numbers():
    assert definition.disks(ET.fromstring(XML)) == (
        DomainDisk(device="vda", role=ROOT, path=Path("/pool/root.2.qcow2")),
        DomainDisk(device="vdb", role=DATA, path=Path("/pool/data.qcow2")),
        DomainDisk(device="vdc", role="scratch", path=Path("/pool/scratch.qcow2")),
    )
    assert definition.mac(ET.fromstring(XML)) == "52:54:00:00:00:01"


def test_what_is_not_named_stays():
    same = changed()
    assert paths(same) == paths(ET.fromstring(XML))
    assert same.findtext("name") == "dev1.devvm.test"
    assert same.find("metadata/{urn:x}x").text == "stays"


def test_a_chain_that_was_written_down_is_dropped_for_it_goes_out_of_date():
    domain = changed(disks={ROOT: Path("/pool/root.3.qcow2")})
    assert paths(domain)[ROOT] == "/pool/root.3.qcow2"
    assert domain.find(".//backingStore") is None
    assert domain.find(".//privateData") is None
    assert domain.find(".//disk/driver").get("type") == "qcow2"


def test_name_card_title_and_credential():
    domain = changed(name="dev2", uuid="u2", title="t", mac="52:54:00:00:00:02",
                     oem_string="io.systemd.credential.binary:tmpfiles.extra=NEW")  # fmt: skip
    assert [domain.findtext(tag) for tag in ("name", "uuid", "title")] == ["dev2", "u2", "t"]
    assert definition.mac(domain) == "52:54:00:00:00:02"
    entries = [e.text for e in domain.iterfind("sysinfo/oemStrings/entry")]
    assert entries == ["something else", "io.systemd.credential.binary:tmpfiles.extra=NEW"]


def test_a_credential_where_there_was_none():
    bare = definition.bare("x", "u", ())
    domain = ET.fromstring(definition.changed(bare, DomainChange(oem_string="io.systemd.c=1")))
    assert domain.findtext("sysinfo/oemStrings/entry") == "io.systemd.c=1"
    assert domain.find("os/smbios").get("mode") == "sysinfo"


def test_a_kept_state_can_not_be_written_to_and_a_vm_can():
    kept = changed(facts=KEPT, read_only=True)
    assert len(kept.findall("devices/disk/readonly")) == 3
    assert kept_of(kept) == KEPT
    assert vm_of(kept) is None
    again = definition.changed(ET.tostring(kept, encoding="unicode"), DomainChange(facts=VM))
    assert "readonly" not in again
    assert vm_of(ET.fromstring(again)) == VM
    assert kept_of(ET.fromstring(again)) is None


def test_facts_are_read_as_they_were_written():
    for facts, read in ((VM, vm_of), (KEPT, kept_of)):
        assert read(changed(facts=facts)) == facts
        assert NAMESPACE not in to_xml(facts)  # libvirt adds the namespace


def test_a_vm_of_an_older_devvm_knows_less():
    old = (
        f"<domain><metadata><d:vm xmlns:d='{NAMESPACE}' name='dev1' engineer='ann' release='r' "
        "created_at='t' data_volume='v' ready='yes' generation='1'/></metadata></domain>"
    )
    found = vm_of(ET.fromstring(old))
    assert (found.name, found.ready, found.host_key, found.authorized_keys) == (
        "dev1", True, "", ()
    )  # fmt: skip


def test_volumes_alone_make_a_domain():
    volumes = (DomainDisk(device="vda", role=DATA, path=Path("/pool/data.qcow2")),)
    domain = ET.fromstring(definition.bare("dev1@x", "u", volumes))
    assert definition.disks(domain) == volumes


def test_at_rest_a_definition_has_nothing_of_the_run_it_is_from():
    ran = XML.replace("<domain type='qemu'>", "<domain type='qemu' id='7'>").replace(
        "<interface",
        "<channel type='unix'><source mode='bind' path='/run/7-dev1/agent'/>"
        "<target type='virtio' name='org.qemu.guest_agent.0'/></channel><interface",
    )
    domain = ET.fromstring(definition.at_rest(ran))
    assert domain.get("id") is None
    channel = domain.find("devices/channel")
    assert [child.tag for child in channel] == ["target"]
    assert definition.disks(domain) == definition.disks_in(XML)
