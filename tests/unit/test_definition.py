"""A domain's definition: read, changed and made; XML in, XML out."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from libvirt_node import connect

from devvm.adapters.libvirt import definition, metadata
from devvm.model import DATA, ROOT, DomainChange, DomainDisk, Kept, Metadata, Purpose

#: As libvirt gives it back, of a VM that vagrant-libvirt made.
DOMAIN = """<domain type="test" xmlns:other="https://other.test/1">
  <name>dev1.devvm.test</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <title>devvm dev1</title>
  <metadata>
    <other:note xmlns:other="https://other.test/1">somebody else's</other:note>
    <devvm:vm xmlns:devvm="https://devvm.invalid/xmlns/domain/1" name="dev1" engineer="ann"
      release="r1" created_at="c" ready="yes" generation="1"/>
  </metadata>
  <memory unit="MiB">1024</memory>
  <vcpu>2</vcpu>
  <sysinfo type="smbios">
    <oemStrings>
      <entry>somebody else's</entry>
      <entry>io.systemd.credential.binary:tmpfiles.extra=OLD</entry>
    </oemStrings>
  </sysinfo>
  <os><type>hvm</type><smbios mode="sysinfo"/></os>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/>
      <source file="/pool/root.qcow2" index="3"/>
      <backingStore type="file"><source file="/pool/box.img"/></backingStore>
      <target dev="vda" bus="virtio"/>
    </disk>
    <disk type="file" device="disk">
      <source file="/pool/data.qcow2"><slices/></source>
      <target dev="vdb" bus="virtio"/>
      <serial>devvm-data</serial>
    </disk>
    <disk type="file" device="disk">
      <source file="/pool/scratch.qcow2"/>
      <target dev="vdc" bus="virtio"/>
      <serial>scratch</serial>
    </disk>
    <disk type="file" device="cdrom"><target dev="hda" bus="ide"/></disk>
    <disk type="block" device="disk">
      <source dev="/dev/sdz"/><target dev="vdd" bus="virtio"/>
    </disk>
    <interface type="network">
      <mac address="52:54:00:00:00:01"/><source network="devvm"/>
    </interface>
  </devices>
</domain>"""
VM = Metadata(name="dev1", engineer="ann", release="r2", created_at="c", generation=2)
KEPT = Kept(
    id="0a1b2c3d", purpose=Purpose.TRASH, label="destroyed", kept_at="k", expires_at="e",
    uuid="u", mac="m", consistency="off", vm=VM,
)  # fmt: skip


def changed(**change):
    return ET.fromstring(definition.changed(DOMAIN, DomainChange(**change)))


def test_disks_are_known_by_their_serial_numbers_and_the_root_by_having_none():
    disks = definition.disks(ET.fromstring(DOMAIN))
    assert [(d.device, d.role, str(d.path)) for d in disks] == [
        ("vda", ROOT, "/pool/root.qcow2"),
        ("vdb", DATA, "/pool/data.qcow2"),
        ("vdc", "scratch", "/pool/scratch.qcow2"),
    ]


def test_the_card_has_an_address_or_there_is_none():
    assert definition.mac(ET.fromstring(DOMAIN)) == "52:54:00:00:00:01"
    assert definition.mac(ET.fromstring("<domain><devices/></domain>")) == ""


def test_no_change_keeps_all_but_the_chain_that_libvirt_wrote_down():
    found = changed()
    assert found.findall(".//backingStore") == []
    assert definition.disks(found) == definition.disks(ET.fromstring(DOMAIN))
    assert found.findtext("uuid") == "11111111-2222-3333-4444-555555555555"
    assert metadata.vm_of(found).release == "r1"
    assert found.find("devices/disk/source").get("index") == "3"


def test_name_uuid_title_and_mac():
    found = changed(name="x@1", uuid="u", title="not to be started", mac="52:54:00:00:00:02")
    assert [found.findtext(part) for part in ("name", "uuid", "title")] == [
        "x@1", "u", "not to be started",
    ]  # fmt: skip
    assert definition.mac(found) == "52:54:00:00:00:02"


def test_a_title_where_there_was_none():
    xml = DOMAIN.replace("<title>devvm dev1</title>", "")
    found = ET.fromstring(definition.changed(xml, DomainChange(title="a line")))
    assert found.findtext("title") == "a line"


def test_disks_are_exchanged_by_role_and_what_was_noted_of_the_old_file_goes():
    found = changed(disks={DATA: Path("/pool/new.qcow2"), "no-such-disk": Path("/pool/x")})
    assert [str(d.path) for d in definition.disks(found)] == [
        "/pool/root.qcow2", "/pool/new.qcow2", "/pool/scratch.qcow2",
    ]  # fmt: skip
    source = found.findall("devices/disk/source")[1]
    assert source.attrib == {"file": "/pool/new.qcow2"}
    assert list(source) == []


def test_read_only_disks_and_back():
    kept = definition.changed(DOMAIN, DomainChange(read_only=True))
    assert len(ET.fromstring(kept).findall("devices/disk/readonly")) == 3
    twice = definition.changed(kept, DomainChange(read_only=True))
    assert len(ET.fromstring(twice).findall("devices/disk/readonly")) == 3
    again = definition.changed(kept, DomainChange())
    assert ET.fromstring(again).findall(".//readonly") == []


@pytest.mark.parametrize("facts", [VM, KEPT])
def test_facts_take_the_place_of_ours_and_leave_those_of_others(facts):
    found = changed(facts=facts)
    assert found.find("metadata/{https://other.test/1}note").text == "somebody else's"
    assert len(found.find("metadata")) == 2
    assert (metadata.vm_of(found), metadata.kept_of(found)) == (
        (VM, None) if facts is VM else (None, KEPT)
    )


def test_a_credential_takes_the_place_of_the_old_one_alone():
    new = "io.systemd.credential.binary:tmpfiles.extra=NEW"
    entries = [entry.text for entry in changed(oem_string=new).iterfind(".//oemStrings/entry")]
    assert entries == ["somebody else's", new]


def test_a_credential_where_there_was_none():
    start, end = DOMAIN.index("  <sysinfo"), DOMAIN.index("  <os>")
    bare = (DOMAIN[:start] + DOMAIN[end:]).replace('<smbios mode="sysinfo"/>', "")
    found = ET.fromstring(definition.changed(bare, DomainChange(oem_string="io.systemd.x=1")))
    assert found.findtext("sysinfo/oemStrings/entry") == "io.systemd.x=1"
    assert found.find("sysinfo").get("type") == "smbios"
    assert found.find("os/smbios").get("mode") == "sysinfo"


def test_a_definition_that_owns_volumes_and_nothing_else():
    volumes = (
        DomainDisk(device="vda", role=ROOT, path=Path("/pool/root.qcow2")),
        DomainDisk(device="vdb", role=DATA, path=Path("/pool/data.qcow2")),
    )
    found = ET.fromstring(definition.bare("dev1.devvm.test@1", "u", volumes))
    assert (found.findtext("name"), found.findtext("uuid")) == ("dev1.devvm.test@1", "u")
    assert definition.disks(found) == volumes
    assert definition.mac(found) == ""


def test_libvirt_takes_what_is_made(tmp_path):
    host = connect(tmp_path).get()
    change = DomainChange(
        name="dev1.devvm.test@1", uuid="11111111-2222-3333-4444-000000000000", title="kept",
        facts=KEPT, read_only=True, mac="52:54:00:00:00:02",
        oem_string="io.systemd.credential.binary:tmpfiles.extra=NEW",
    )  # fmt: skip
    xml = definition.changed(DOMAIN.replace('<disk type="block"', '<disk type="block" '), change)
    domain = host.defineXML(xml)
    answer = ET.fromstring(domain.XMLDesc())
    assert metadata.kept_of(answer) == KEPT
    assert definition.mac(answer) == "52:54:00:00:00:02"
    assert [d.role for d in definition.disks(answer)] == [ROOT, DATA, "scratch"]
    bare = definition.bare("dev1.devvm.test@2", "11111111-2222-3333-4444-000000000001", ())
    assert host.defineXML(bare.replace('type="qemu"', 'type="test"')).name() == "dev1.devvm.test@2"
