"""devvm's facts in a domain's metadata: XML under a namespace of our own. Pure."""

from __future__ import annotations

from dataclasses import asdict
from xml.etree import ElementTree as ET

from devvm.errors import OperationError
from devvm.model import Metadata

NAMESPACE = "https://devvm.invalid/xmlns/domain/1"
PREFIX = "devvm"
_TAG = f"{{{NAMESPACE}}}vm"


def to_xml(metadata: Metadata) -> str:
    """The element as `virDomainSetMetadata` wants it: without the namespace, which it adds."""
    facts = asdict(metadata)
    facts["ready"] = "yes" if metadata.ready else "no"
    return ET.tostring(ET.Element("vm", {k: str(v) for k, v in facts.items()}), encoding="unicode")


def from_domain(domain: ET.Element) -> Metadata | None:
    """The facts in a domain's XML; None where it is not a VM of devvm's.

    Raises:
        OperationError: there are facts, but not ones that this devvm can read.
    """
    element = domain.find(f"metadata/{_TAG}")
    if element is None:
        return None
    try:
        return Metadata(
            name=element.attrib["name"],
            engineer=element.attrib["engineer"],
            release=element.attrib["release"],
            created_at=element.attrib["created_at"],
            data_volume=element.attrib["data_volume"],
            ready=element.attrib["ready"] == "yes",
            generation=int(element.attrib["generation"]),
        )
    except (KeyError, ValueError) as error:
        name = domain.findtext("name")
        raise OperationError(
            f"what devvm noted in the domain {name} can't be read",
            details=f"missing or bad: {error}; perhaps a newer devvm made the VM",
            resolution=f"virsh metadata {name} {NAMESPACE}",
        ) from None
