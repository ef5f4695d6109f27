"""Domain definitions: reads disks and MAC addresses, and makes changed copies. No I/O."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from devvm.adapters.libvirt import metadata as facts
from devvm.domain.disk import MEMORY, ROOT, DomainDisk
from devvm.domain.saved_state import DomainChange

ET.register_namespace(facts.PREFIX, facts.NAMESPACE)
_OEM = "io.systemd.credential"


def disks(domain: ET.Element) -> tuple[DomainDisk, ...]:
    """The disks of a domain that are backed by files."""
    found = []
    for disk in _disks(domain):
        target = disk.find("target")
        assert target is not None
        found.append(
            DomainDisk(device=target.get("dev", ""), role=_role(disk), path=Path(_file(disk)))
        )
    return tuple(found)


def disks_in(xml: str) -> tuple[DomainDisk, ...]:
    """The disks in a domain's XML that are backed by files."""
    return disks(ET.fromstring(xml))  # noqa: S314 - libvirt's own answer, or a copy of it


def mac(domain: ET.Element) -> str:
    """The MAC address of a domain's network card; empty if it has none."""
    card = domain.find("devices/interface/mac")
    return "" if card is None else card.get("address", "")


def changed(xml: str, change: DomainChange) -> str:
    """The definition `xml` with `change` applied."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer, or a copy of it
    for name, text in (("name", change.name), ("uuid", change.uuid), ("title", change.title)):
        if text is not None:
            _child(domain, name).text = text
    card = domain.find("devices/interface/mac")
    if change.mac is not None and card is not None:
        card.set("address", change.mac)
    for disk in _disks(domain):
        _change_disk(disk, change)
    if change.facts is not None:
        _set_facts(domain, change.facts)
    if change.oem_string is not None:
        _set_oem_string(domain, change.oem_string)
    return ET.tostring(domain, encoding="unicode")


def at_rest(xml: str) -> str:
    """The definition of a domain as it ran, without what libvirt chose for that run."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own answer, or a copy of it
    domain.attrib.pop("id", None)
    for channel in domain.iterfind("devices/channel"):
        for source in channel.findall("source"):  # the socket, named after the domain
            channel.remove(source)
    return ET.tostring(domain, encoding="unicode")


def bare(name: str, uuid: str, volumes: tuple[DomainDisk, ...]) -> str:
    """The definition of a domain that exists only to own volumes."""
    domain = ET.Element("domain", type="qemu")
    ET.SubElement(domain, "name").text = name
    ET.SubElement(domain, "uuid").text = uuid
    ET.SubElement(domain, "memory", unit="MiB").text = "16"
    ET.SubElement(ET.SubElement(domain, "os"), "type", arch="x86_64").text = "hvm"
    devices = ET.SubElement(domain, "devices")
    for volume in volumes:
        disk = ET.SubElement(devices, "disk", type="file", device="disk")
        form = "raw" if volume.role == MEMORY else "qcow2"
        ET.SubElement(disk, "driver", name="qemu", type=form)
        ET.SubElement(disk, "source", file=str(volume.path))
        ET.SubElement(disk, "target", dev=volume.device, bus="virtio")
        if volume.role != ROOT:
            ET.SubElement(disk, "serial").text = volume.role
    return ET.tostring(domain, encoding="unicode")


def _disks(domain: ET.Element) -> list[ET.Element]:
    return [
        disk
        for disk in domain.iterfind("devices/disk")
        if disk.get("device", "disk") == "disk" and disk.find("target") is not None and _file(disk)
    ]


def _file(disk: ET.Element) -> str:
    source = disk.find("source")
    return "" if source is None else source.get("file", "")


def _role(disk: ET.Element) -> str:
    target = disk.find("target")
    device = "" if target is None else target.get("dev", "")
    return disk.findtext("serial") or (ROOT if device.endswith("da") else device)


def _change_disk(disk: ET.Element, change: DomainChange) -> None:
    path = change.disks.get(_role(disk))
    if path is not None:
        source = disk.find("source")
        assert source is not None
        source.clear()  # what libvirt recorded about the old file
        source.set("file", str(path))
    # A recorded backing chain would be outdated; without one, libvirt reads the files.
    for name in ("backingStore", "mirror", "readonly"):
        for child in disk.findall(name):
            disk.remove(child)
    if change.read_only:
        ET.SubElement(disk, "readonly")


def _set_facts(domain: ET.Element, content: facts.Facts) -> None:
    place = _child(domain, "metadata")
    for child in list(place):
        if child.tag.startswith(f"{{{facts.NAMESPACE}}}"):
            place.remove(child)
    place.append(facts.to_element(content))


def _set_oem_string(domain: ET.Element, text: str) -> None:
    entries = domain.findall("sysinfo/oemStrings/entry")
    for entry in entries:
        if (entry.text or "").startswith(_OEM):
            entry.text = text
            return
    sysinfo = domain.find("sysinfo")
    if sysinfo is None:
        sysinfo = ET.SubElement(domain, "sysinfo", type="smbios")
        system = _child(domain, "os")
        ET.SubElement(system, "smbios", mode="sysinfo")
    ET.SubElement(_child(sysinfo, "oemStrings"), "entry").text = text


def _child(parent: ET.Element, name: str) -> ET.Element:
    found = parent.find(name)
    return ET.SubElement(parent, name) if found is None else found
