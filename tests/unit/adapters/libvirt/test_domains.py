"""Domains, on libvirt's own test driver."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import libvirt
import pytest

from devvm.adapters.libvirt.connection import Connection
from devvm.domain.errors import ExitCode, HostNotReadyError, OperationError
from devvm.domain.vm import Lease, Metadata, VmState
from tests.support.libvirt_node import connect, define, domains_on, fleet

DEV1 = Metadata(
    name="dev1",
    engineer="ann",
    release="2026.11.23-1a2b3c4d5e6f",
    created_at="2026-11-23T10:00:00+00:00",
)
LEASE = Lease(mac="52:54:00:00:00:01", address="192.168.219.7", fqdn="dev1.devvm.test")


@pytest.fixture
def connection(tmp_path):
    return connect(tmp_path)


@pytest.fixture
def domains(connection):
    return domains_on(connection)


@pytest.fixture
def dev1(connection, domains):
    domain = define(connection, "dev1.devvm.test")
    domains.set_metadata(domain.UUIDString(), DEV1)
    return domain


@pytest.fixture
def vm(domains, dev1):
    return domains.vm("dev1")


def test_a_vm_is_a_domain_with_facts_of_ours(connection, dev1):
    network = SimpleNamespace(leases=lambda: {"dev1": LEASE})
    (vm,) = domains_on(connection, network=network).vms()
    assert (vm.name, vm.fqdn, vm.uuid) == ("dev1", "dev1.devvm.test", dev1.UUIDString())
    assert (vm.memory_mib, vm.cpus, vm.state) == (1024, 2, VmState.SHUTOFF)
    assert vm.metadata == DEV1
    assert vm.lease == LEASE
    assert str(vm.root) == "/pool/dev1.devvm.test.img"


def test_a_domain_of_somebody_else_is_seen_but_is_no_vm(connection, domains):
    foreign = define(connection, "other.devvm.test")
    assert domains.vms() == []
    assert domains.vm("other") is None
    assert domains.uuid("other.devvm.test") == foreign.UUIDString()
    assert domains.uuid("nothing.devvm.test") is None


def test_a_list_asks_libvirt_about_each_domain_once(tmp_path, monkeypatch):
    path = tmp_path / "node.xml"
    path.write_text(fleet(30, "/pool"))
    connection = Connection(f"test://{path}")
    define(connection, "other.devvm.test")
    asked = Counter()

    def counted(kind, name):
        method = getattr(kind, name)

        def call(self, *arguments):
            asked[name] += 1
            return method(self, *arguments)

        monkeypatch.setattr(kind, name, call)

    for name in ("listAllDomains", "networkLookupByName", "lookupByName"):
        counted(libvirt.virConnect, name)
    for name in ("XMLDesc", "state", "metadata"):
        counted(libvirt.virDomain, name)
    vms = domains_on(connection).vms()
    assert [vm.name for vm in vms] == [f"vm{number:04}" for number in range(30)]
    assert vms[7].lease == Lease(
        mac="52:54:00:00:00:07", address="10.219.0.9", fqdn="vm0007.devvm.test"
    )
    # Somebody else's domain isn't asked how it is.
    assert asked == {"listAllDomains": 1, "networkLookupByName": 1, "XMLDesc": 31, "state": 30}


def test_facts_can_be_written_again_on_a_running_vm(domains, dev1):
    dev1.create()
    complete = Metadata(**{**DEV1.__dict__, "ready": True, "generation": 2})
    domains.set_metadata(dev1.UUIDString(), complete)
    vm = domains.vm("dev1")
    assert vm.metadata == complete
    assert vm.state is VmState.RUNNING


def test_facts_that_can_not_be_read_are_said(connection, domains, dev1):
    dev1.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        "<vm name='dev1'/>",
        "devvm",
        "https://devvm.invalid/xmlns/domain/1",
        libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )
    with pytest.raises(OperationError, match=r"dev1\.devvm\.test can't be read") as caught:
        domains.vm("dev1")
    assert "engineer" in caught.value.details
    assert domains.vms() == []  # one that can't be read doesn't hide the others
    assert "can't be read" in domains.others()["dev1.devvm.test"]


def test_start_twice_and_stop_twice(domains, dev1, vm):
    domains.start(vm)
    domains.start(vm)
    assert dev1.isActive()
    domains.shutdown(vm, timeout=5, force=False)
    domains.shutdown(vm, timeout=5, force=False)
    assert not dev1.isActive()


def test_a_paused_vm_is_resumed_by_start(domains, dev1, vm):
    dev1.create()
    dev1.suspend()
    domains.start(vm)
    assert domains.vm("dev1").state is VmState.RUNNING


def test_a_start_that_somebody_else_is_just_ending(domains, dev1, vm, monkeypatch):
    """libvirt keeps a domain paused while it starts; another start waits, and is refused."""
    resume = libvirt.virDomain.resume
    dev1.create()
    dev1.suspend()
    monkeypatch.setattr(
        libvirt.virDomain, "resume", lambda domain: [resume(domain), resume(domain)]
    )
    domains.start(vm)
    assert domains.vm("dev1").state is VmState.RUNNING


def test_a_guest_that_does_not_shut_down_is_left_alone_without_force(
    domains, dev1, vm, monkeypatch
):
    monkeypatch.setattr(
        "devvm.adapters.libvirt.domains._ask_to_shut_down", lambda _domain: None
    )  # a guest that ignores the power button
    dev1.create()
    with pytest.raises(OperationError) as caught:
        domains.shutdown(vm, timeout=0.1, force=False)
    assert caught.value.resolution == "devvm stop dev1 --force"
    assert dev1.isActive()
    domains.shutdown(vm, timeout=0.1, force=True)
    assert not dev1.isActive()


def test_remove_takes_a_running_domain_and_a_missing_one(domains, dev1):
    dev1.create()
    domains.remove("dev1.devvm.test")
    domains.remove("dev1.devvm.test")
    assert domains.uuid("dev1.devvm.test") is None


def test_a_guest_that_ends_just_when_its_plug_is_pulled(domains, dev1, vm, monkeypatch):
    """libvirt drops a QEMU process that it finds dead when libvirtd restarts."""
    monkeypatch.setattr("libvirt.virDomain.isActive", lambda _domain: 1)  # it was, a moment ago
    domains.shutdown(vm, timeout=0, force=True)
    domains.remove("dev1.devvm.test")
    assert domains.uuid("dev1.devvm.test") is None


def test_disks_and_their_users(domains, dev1):
    found = domains.disk_sources("dev1.devvm.test")
    assert [(disk.device, disk.role, str(disk.path)) for disk in found] == [
        ("vda", "root", "/pool/dev1.devvm.test.img"),
        ("vdb", "devvm-data", "/pool/dev1.devvm.test-data.qcow2"),
    ]
    users = domains.users()
    assert users[Path("/pool/dev1.devvm.test.img")] == {"dev1.devvm.test"}
    assert Path("/pool/other.img") not in users
    assert domains.disk_sources("nothing.devvm.test") == ()


def test_a_domain_that_vanished_is_an_error_of_ours(domains, vm):
    with pytest.raises(OperationError, match=r"gone\.devvm\.test can't be started"):
        domains.start(replace(vm, fqdn="gone.devvm.test"))


def test_libvirt_that_does_not_answer(tmp_path):
    connection = Connection(f"qemu+unix:///system?socket={tmp_path}/nothing")
    with pytest.raises(HostNotReadyError, match="does not answer") as caught:
        connection.get()
    assert caught.value.exit_code is ExitCode.HOST_NOT_READY
    assert caught.value.resolution == "devvm setup"
