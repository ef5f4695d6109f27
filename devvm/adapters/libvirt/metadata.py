"""devvm's facts in a domain's metadata: XML in our own namespace. No I/O.

A domain is a VM (`<vm>`) or a saved state (`<kept>`, which contains the VM's facts).
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from devvm.domain.errors import OperationError
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Metadata

Facts = Metadata | SavedState

NAMESPACE = "https://devvm.invalid/xmlns/domain/1"
PREFIX = "devvm"
_VM = "vm"
_KEPT = "kept"
#: Facts that a VM may not have.
_LATER = ("stack", "certificate_until", "pinned_until", "pinned_by", "pin_reason", "update_to",
          "update_by", "restore_point", "shell")  # fmt: skip


def to_xml(facts: Metadata | SavedState) -> str:
    """The element for `virDomainSetMetadata`: without the namespace, which libvirt adds."""
    return ET.tostring(_element(facts), encoding="unicode")


def to_element(facts: Metadata | SavedState) -> ET.Element:
    """The element for a domain's `<metadata>`, with the namespace."""
    element = _element(facts)
    for part in element.iter():
        part.tag = f"{{{NAMESPACE}}}{part.tag}"
    return element


def vm_of(domain: ET.Element) -> Metadata | None:
    """The facts of a VM in a domain's XML; None if it isn't a VM of devvm's.

    Raises:
        OperationError: this devvm can't read the facts.
    """
    element = domain.find(f"metadata/{{{NAMESPACE}}}{_VM}")
    try:
        return None if element is None else _metadata(element)
    except (KeyError, ValueError) as error:
        raise _unreadable(domain, error) from None


def kept_of(domain: ET.Element) -> SavedState | None:
    """The facts of a saved state in a domain's XML, without disks; None if it isn't one.

    Raises:
        OperationError: this devvm can't read the facts.
    """
    element = domain.find(f"metadata/{{{NAMESPACE}}}{_KEPT}")
    if element is None:
        return None
    try:
        vm = next(element.iterfind(f"{{{NAMESPACE}}}{_VM}"), element)  # which lacks the facts
        facts = element.attrib
        return SavedState(
            id=facts["id"],
            purpose=Purpose(facts["purpose"]),
            label=facts["label"],
            kept_at=facts["kept_at"],
            expires_at=facts.get("expires_at"),
            uuid=facts["uuid"],
            mac=facts["mac"],
            consistency=facts["consistency"],
            whole=facts["whole"] == "yes",
            vm=_metadata(vm),
            fits=facts.get("fits", ""),
        )
    except (KeyError, ValueError) as error:
        raise _unreadable(domain, error) from None


def _element(facts: Metadata | SavedState) -> ET.Element:
    if isinstance(facts, SavedState):
        element = ET.Element(
            _KEPT, id=facts.id, purpose=facts.purpose, label=facts.label, kept_at=facts.kept_at,
            uuid=facts.uuid, mac=facts.mac, consistency=facts.consistency,
            whole=_word(facts.whole),
        )  # fmt: skip
        if facts.expires_at:
            element.set("expires_at", facts.expires_at)
        if facts.fits:
            element.set("fits", facts.fits)
        element.append(_element(facts.vm))
        return element
    element = ET.Element(
        _VM, name=facts.name, engineer=facts.engineer, release=facts.release,
        created_at=facts.created_at, ready=_word(facts.ready), generation=str(facts.generation),
        git_name=facts.git_name, git_email=facts.git_email, host_key=facts.host_key,
    )  # fmt: skip
    for name in _LATER:
        if value := getattr(facts, name):
            element.set(name, value)
    for key in facts.authorized_keys:
        ET.SubElement(element, "key").text = key
    for package, version in sorted(facts.databases.items()):
        ET.SubElement(element, "database", package=package, version=version)
    return element


def _metadata(element: ET.Element) -> Metadata:
    facts = element.attrib
    return Metadata(
        name=facts["name"],
        engineer=facts["engineer"],
        release=facts["release"],
        created_at=facts["created_at"],
        ready=facts["ready"] == "yes",
        generation=int(facts["generation"]),
        authorized_keys=tuple(k.text or "" for k in element.iterfind(f"{{{NAMESPACE}}}key")),
        git_name=facts.get("git_name", ""),  # older VMs have none of these
        git_email=facts.get("git_email", ""),
        host_key=facts.get("host_key", ""),
        databases=_databases(element),
        **{name: facts[name] for name in _LATER if name in facts},
    )


def _databases(element: ET.Element) -> dict[str, str]:
    older = element.attrib.get("mariadb")  # an older devvm knew this one only
    found = {"mariadb-server": older} if older else {}
    for one in element.iterfind(f"{{{NAMESPACE}}}database"):
        found[one.attrib["package"]] = one.attrib["version"]
    return found


def _word(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def _unreadable(domain: ET.Element, error: Exception) -> OperationError:
    name = domain.findtext("name")
    return OperationError(
        f"devvm's metadata in the domain {name} can't be read",
        details=f"missing or invalid: {error}; perhaps a newer devvm wrote it",
        resolution=f"virsh metadata {name} {NAMESPACE}",
    )
