"""devvm's metadata in a domain: written and read; also from an older devvm, or unreadable."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import libvirt
import pytest

from devvm.adapters.libvirt import metadata
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import DomainChange, Purpose, SavedState
from devvm.domain.vm import Metadata
from tests.support.libvirt_node import connect, define, domains_on

VM = Metadata(
    name="dev1",
    engineer="ann",
    release="2026.11.23-1a2b3c4d5e6f",
    created_at="2026-11-23T10:00:00+00:00",
    ready=True,
    generation=3,
    authorized_keys=("ssh-ed25519 AAAA ann@a", 'from="10.0.0.1" ssh-ed25519 BBBB <b> & c'),
    git_name='Ann "A" Lee & <Söhne>',
    git_email="ann@x.test",
    host_key="ssh-ed25519 HOST",
    certificate_until="2029-03-01",
)
KEPT = SavedState(
    id="0a1b2c3d",
    purpose=Purpose.SNAPSHOT,
    label="before-upgrade",
    kept_at="2026-11-24T10:00:00+00:00",
    expires_at=None,
    uuid="11111111-2222-3333-4444-555555555555",
    mac="52:54:00:00:00:01",
    consistency="frozen",
    vm=VM,
)


def in_a_domain(facts):
    """The metadata after a round trip through a domain's XML."""
    domain = ET.fromstring("<domain><name>dev1.devvm.test</name><metadata/></domain>")
    domain.find("metadata").append(metadata.to_element(facts))
    return ET.fromstring(ET.tostring(domain, encoding="unicode"))


def of_an_older_devvm(text):
    xml = f"""<domain><name>dev1.devvm.test</name>
      <metadata xmlns:devvm="{metadata.NAMESPACE}">{text}</metadata></domain>"""
    return ET.fromstring(xml)


def test_a_vm_there_and_back():
    domain = in_a_domain(VM)
    assert metadata.vm_of(domain) == VM
    assert metadata.kept_of(domain) is None


WANTED = {
    "pinned_until": "2026-12-01",
    "pinned_by": "jane",
    "pin_reason": 'demo for <all> & "Söhne"',
    "update_to": "2026.12.01-1a2b3c4d5e6f",
    "update_by": "rollout 3f9a2c1b",
}


def test_what_is_wanted_of_a_vm_there_and_back():
    wanted = replace(VM, **WANTED)
    assert metadata.vm_of(in_a_domain(wanted)) == wanted
    kept = replace(KEPT, vm=wanted)
    assert metadata.kept_of(in_a_domain(kept)) == kept
    for name, value in WANTED.items():
        one = replace(VM, **{name: value})
        assert metadata.vm_of(in_a_domain(one)) == one


def test_what_nobody_wants_of_a_vm_is_not_in_its_domain():
    text = ET.tostring(in_a_domain(VM), encoding="unicode")
    assert [name for name in WANTED if name in text] == []


@pytest.mark.parametrize(
    "kept",
    [
        KEPT,
        replace(KEPT, purpose=Purpose.TRASH, label="destroyed", expires_at="2026-12-08"),
        replace(KEPT, purpose=Purpose.PREVIOUS, consistency="off"),
        replace(KEPT, whole=False, uuid="", mac="", consistency="crash"),
    ],
)
def test_a_kept_state_there_and_back(kept):
    domain = in_a_domain(kept)
    assert metadata.kept_of(domain) == kept
    assert metadata.vm_of(domain) is None  # has `<vm>` inside, but isn't a VM


def test_a_domain_of_somebody_else():
    for text in ("", "<other/>", "<vm name='x'/>"):  # not in our namespace
        domain = of_an_older_devvm(text)
        assert metadata.vm_of(domain) is None
        assert metadata.kept_of(domain) is None
    assert metadata.vm_of(ET.fromstring("<domain/>")) is None


def test_a_vm_of_an_older_devvm_lacks_what_came_later():
    domain = of_an_older_devvm(
        "<devvm:vm name='dev1' engineer='ann' release='r' created_at='c' ready='yes'"
        " generation='1' data_volume='dev1.devvm.test-data.qcow2'/>"
    )
    assert metadata.vm_of(domain) == Metadata(
        name="dev1", engineer="ann", release="r", created_at="c", ready=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "<devvm:vm name='dev1'/>",
        "<devvm:vm name='dev1' engineer='a' release='r' created_at='c' ready='no' generation='x'/>",
    ],
)
def test_a_vm_that_can_not_be_read_is_said(text):
    with pytest.raises(OperationError, match=r"dev1\.devvm\.test can't be read") as caught:
        metadata.vm_of(of_an_older_devvm(text))
    assert "virsh metadata dev1.devvm.test" in caught.value.resolution


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('purpose="snapshot"', 'purpose="museum"'), ('id="0a1b2c3d"', ""), ("ns0:vm", "ns0:no")],
)
def test_a_kept_state_that_can_not_be_read_is_said(right, wrong):
    text = ET.tostring(in_a_domain(KEPT), encoding="unicode").replace("devvm:", "ns0:")
    text = text.replace("xmlns:devvm", "xmlns:ns0")
    assert right in text
    with pytest.raises(OperationError, match="can't be read"):
        metadata.kept_of(ET.fromstring(text.replace(right, wrong)))


def test_libvirt_keeps_both(tmp_path):
    connection = connect(tmp_path)
    domains, domain = domains_on(connection), define(connection, "dev1.devvm.test")
    domains.set_metadata(domain.UUIDString(), wanted := replace(VM, **WANTED))
    assert domains.vm("dev1").metadata == wanted
    domains.set_metadata(domain.UUIDString(), VM)
    assert domains.vm("dev1").metadata == VM
    change = DomainChange(
        name="dev1.devvm.test@0a1b2c3d", uuid="11111111-2222-3333-4444-000000000000", facts=KEPT
    )
    domains.define(domains.definition("dev1.devvm.test"), change)
    (kept,) = domains.saved_states()
    assert replace(kept, disks=()) == KEPT
    assert [disk.role for disk in kept.disks] == ["root", "devvm-data"]
    assert [vm.name for vm in domains.vms()] == ["dev1"]


def test_what_set_metadata_writes_has_no_namespace_of_its_own(tmp_path):
    domain = define(connect(tmp_path), "dev1.devvm.test")
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, metadata.to_xml(VM), metadata.PREFIX,
        metadata.NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )  # fmt: skip
    assert metadata.vm_of(ET.fromstring(domain.XMLDesc())) == VM
