"""What operations rely on in a libvirt host; here in memory, in the kill tier on a real one.

The same tests run on both, so that operations that work on the memory host work on libvirt.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import DomainChange, Purpose
from devvm.domain.vm import Vm, VmState
from tests.support.hypervisor_node import (
    DEV1,
    KEPT,
    MACS,
    UUIDS,
    MemoryNode,
    Node,
    make,
    on_top,
    run,
    sizes,
    state,
)
from tests.support.memory_host import GIB


class Contract:
    """The tests; a subclass has the fixture `node`."""

    @pytest.fixture
    def dev1(self, node: Node) -> Vm:
        return make(node)

    # things that don't exist

    def test_nothing_is_there(self, node: Node) -> None:
        node.host.check()
        assert (node.domains.vms(), node.domains.saved_states(), node.domains.others()) == (
            [],
            [],
            {},
        )
        assert (node.volumes.all(), node.volumes.unused()) == ([], [])
        assert node.network.leases() == {}
        assert node.volumes.free_bytes() > 0
        total, free = node.host.memory_mib()
        assert total >= free > 0

    def test_names_that_are_unknown(self, node: Node) -> None:
        assert node.domains.vm("dev1") is None
        assert node.domains.saved_state("dev1.devvm.test@0123abcd") is None
        assert node.domains.uuid("dev1.devvm.test") is None
        assert node.disks.of("dev1.devvm.test") == []
        assert node.volumes.exists("nothing") is False
        assert node.volumes.sha256("nothing") is None
        assert node.volumes.users_of("nothing") == []
        node.domains.undefine("dev1.devvm.test")
        node.domains.remove("dev1.devvm.test")
        node.volumes.remove("nothing")
        node.network.release("dev1")

    def test_what_needs_a_domain_says_that_there_is_none(self, node: Node, dev1: Vm) -> None:
        node.domains.remove(dev1.fqdn)
        for fails in (
            lambda: node.domains.definition(dev1.fqdn),
            lambda: node.domains.start(dev1),
            lambda: node.domains.shutdown(dev1, timeout=1, force=True),
            lambda: node.domains.rename(dev1.fqdn, "other.devvm.test"),
            lambda: node.domains.set_metadata(dev1.uuid, DEV1),
            lambda: node.domains.read_file(dev1.fqdn, "/etc/hostname"),
            lambda: node.domains.authorize_key(dev1.fqdn, "ann", "ssh-ed25519 KEY"),
            lambda: node.disks.commit(dev1, ROOT, node.pool / "base-root"),
        ):
            with pytest.raises(OperationError):
                fails()

    # domains

    def test_a_domain_is_a_vm_once_it_has_facts(self, node: Node) -> None:
        disks = {ROOT: node.base("base-root"), DATA: node.base("base-data")}
        fqdn = f"dev1.{node.domain}"
        node.define(fqdn, UUIDS[0], MACS[0], disks)
        assert node.domains.vm("dev1") is None
        assert node.domains.others() == {fqdn: "devvm did not make it"}
        assert node.domains.uuid(fqdn) == UUIDS[0]
        node.domains.set_metadata(UUIDS[0], DEV1)
        (vm,) = node.domains.vms()
        assert vm == node.domains.vm("dev1")
        assert (vm.name, vm.fqdn, vm.uuid, vm.mac) == ("dev1", fqdn, UUIDS[0], MACS[0])
        assert (vm.metadata, vm.state, vm.lease) == (DEV1, VmState.SHUTOFF, None)
        assert (vm.root, vm.data) == (disks[ROOT], disks[DATA])
        assert node.domains.others() == {}
        assert [(d.role, d.path, d.size_bytes) for d in node.disks.of(fqdn)] == [
            (role, path, GIB) for role, path in disks.items()
        ]

    def test_power(self, node: Node, dev1: Vm) -> None:
        for _ in range(2):
            node.domains.start(dev1)
            assert state(node) is VmState.RUNNING
        node.write(dev1.fqdn, ROOT, 1)  # it is up and receives the request
        for _ in range(2):
            node.domains.shutdown(dev1, timeout=20, force=False)
            assert state(node) is VmState.SHUTOFF

    def test_a_guest_that_does_not_answer(self, node: Node) -> None:
        deaf = make(node, answers=False)
        node.domains.start(deaf)
        with pytest.raises(OperationError, match="did not shut down") as caught:
            node.domains.shutdown(deaf, timeout=0.2, force=False)
        assert caught.value.resolution == "devvm stop dev1 --force"
        assert state(node) is VmState.RUNNING
        node.domains.shutdown(deaf, timeout=0.2, force=True)
        assert state(node) is VmState.SHUTOFF

    def test_facts_of_one_that_runs(self, node: Node, dev1: Vm) -> None:
        node.domains.start(dev1)
        node.domains.set_metadata(dev1.uuid, replace(DEV1, ready=True, generation=2))
        node.domains.remove(dev1.fqdn)
        assert node.domains.vm("dev1") is None
        assert node.volumes.exists("base-root")

    def test_there_is_no_agent(self, node: Node, dev1: Vm) -> None:
        for _ in range(2):  # off, then running
            assert node.domains.read_file(dev1.fqdn, "/etc/hostname") is None
            assert node.domains.authorize_key(dev1.fqdn, "ann", "ssh-ed25519 KEY") is False
            node.domains.start(dev1)

    def test_a_state_is_kept(self, node: Node, dev1: Vm) -> None:
        name = f"{dev1.fqdn}@{KEPT.id}"
        definition = node.domains.definition(dev1.fqdn)
        assert node.domains.disks_in(definition) == dev1.disks
        change = DomainChange(name=name, uuid=UUIDS[1], mac=MACS[1], facts=KEPT, read_only=True)
        node.domains.define(definition, change)
        assert node.domains.saved_states() == [replace(KEPT, disks=dev1.disks)]
        assert node.domains.saved_state(name) == node.domains.saved_states()[0]
        assert node.domains.saved_state(dev1.fqdn) is None
        assert [vm.name for vm in node.domains.vms()] == ["dev1"]
        assert node.volumes.users_of("base-root") == [dev1.fqdn, name]
        node.domains.undefine(name)
        assert node.domains.saved_states() == []

    def test_volumes_are_kept_without_a_vm(self, node: Node) -> None:
        disks = (DomainDisk(device="vdb", role=DATA, path=node.base("base-data")),)
        kept = replace(KEPT, purpose=Purpose.TRASH, whole=False)
        node.domains.define_bare(f"dev1.{node.domain}@{KEPT.id}", UUIDS[1], disks, kept)
        assert node.domains.saved_states() == [replace(kept, disks=disks)]

    def test_a_definition_is_replaced_by_its_uuid_only(self, node: Node, dev1: Vm) -> None:
        other = node.base("other")
        definition = node.domains.definition(dev1.fqdn)
        node.domains.define(definition, DomainChange(disks={ROOT: other}))
        found = node.domains.vm("dev1")
        assert found is not None
        assert (found.root, found.data, found.metadata) == (other, dev1.data, DEV1)
        with pytest.raises(OperationError):  # the name belongs to another one
            node.domains.define(definition, DomainChange(uuid=UUIDS[1]))

    def test_another_name(self, node: Node, dev1: Vm) -> None:
        node.domains.rename(dev1.fqdn, f"dev2.{node.domain}")
        assert node.domains.uuid(dev1.fqdn) is None
        assert node.domains.uuid(f"dev2.{node.domain}") == dev1.uuid
        node.domains.rename(f"dev2.{node.domain}", dev1.fqdn)
        node.domains.start(dev1)
        with pytest.raises(OperationError):
            node.domains.rename(dev1.fqdn, f"dev2.{node.domain}")

    # volumes

    def test_an_image_is_put_into_the_pool(self, node: Node, tmp_path: Path) -> None:
        source = node.image(tmp_path / "image.qcow2")
        digest = sha256(source.read_bytes()).hexdigest()
        for _ in range(2):  # once, and again
            path = node.volumes.upload("image", source, lambda _text: None)
            assert path == node.pool / "image"
            assert node.volumes.sha256("image") == digest
        (volume,) = node.volumes.all()
        assert (volume.name, volume.path, volume.below) == ("image", path, None)
        assert volume.size_bytes == GIB
        node.volumes.remove("image")
        assert not node.volumes.exists("image")

    def test_layers_on_layers(self, node: Node) -> None:
        base = node.base("base")
        middle = node.volumes.layer("middle", base)
        top = node.volumes.layer("top", middle, 2 * GIB)
        found = {v.name: (v.below, v.size_bytes) for v in node.volumes.all()}
        assert found == {"base": (None, GIB), "middle": (base, GIB), "top": (middle, 2 * GIB)}
        assert node.volumes.layer("top", base) == top  # replaces one left by a call that was killed
        assert {v.name: v.below for v in node.volumes.all()}["top"] == base
        with pytest.raises(OperationError, match="can't be created"):
            node.volumes.layer("loose", node.pool / "nothing")

    def test_what_is_under_a_disk_is_needed(self, node: Node, dev1: Vm) -> None:
        assert dev1.root is not None
        top = node.volumes.layer("top", dev1.root)
        node.disks.split(dev1, {ROOT: top})
        assert node.volumes.users_of("base-root") == [dev1.fqdn]
        assert node.volumes.users_of("top") == [dev1.fqdn]
        for name in ("base-root", "top"):
            with pytest.raises(OperationError, match="it is in use"):
                node.volumes.remove(name)
            assert node.volumes.exists(name)

    def test_what_no_domain_needs(self, node: Node) -> None:
        """A layer comes before what is below it; volumes not named like VMs' are left out."""
        below = node.base(f"dev1.{node.domain}-root.00000001.qcow2")
        node.volumes.layer(f"dev1.{node.domain}-root.00000000.qcow2", below)
        node.base("box.img")
        names = [volume.name for volume in node.volumes.unused()]
        assert names == [f"dev1.{node.domain}-root.0000000{n}.qcow2" for n in (0, 1)]

    # disks of VMs

    def test_new_layers_under_one_that_is_off(self, node: Node, dev1: Vm) -> None:
        tops = on_top(node, dev1)
        assert node.disks.split(dev1, tops) == "off"
        assert {d.role: d.path for d in node.disks.of(dev1.fqdn)} == tops

    def test_new_layers_under_one_that_runs(self, node: Node, dev1: Vm) -> None:
        running = run(node, dev1)
        node.write(dev1.fqdn, ROOT, 1)
        tops = on_top(node, running)
        assert node.disks.split(running, tops) == "crash"  # no agent to freeze it
        found = node.domains.vm("dev1")
        assert found is not None
        assert {disk.role: disk.path for disk in found.disks} == tops
        assert {disk.role: disk.path for disk in node.disks.of(dev1.fqdn)} == tops
        node.write(dev1.fqdn, ROOT, 2)
        assert dev1.root is not None
        assert [node.written(dev1.root, place) for place in (1, 2)] == [True, False]
        assert [node.written(tops[ROOT], place) for place in (1, 2)] == [True, True]

    def test_layers_are_merged(self, node: Node, dev1: Vm) -> None:
        running = run(node, dev1)
        tops = on_top(node, running)
        node.disks.split(running, tops)
        node.write(dev1.fqdn, ROOT, 1)
        assert dev1.root is not None
        node.disks.commit(running, ROOT, dev1.root)
        found = node.domains.vm("dev1")
        assert found is not None
        assert (found.root, found.data) == (dev1.root, tops[DATA])
        assert node.written(dev1.root, 1)
        assert node.volumes.users_of("top-root") == []

    def test_a_disk_is_moved(self, node: Node, dev1: Vm) -> None:
        running = run(node, dev1)
        tops = on_top(node, running)
        node.disks.split(running, tops)
        node.write(dev1.fqdn, ROOT, 1)
        assert dev1.root is not None
        new = node.volumes.layer("new", dev1.root)
        node.disks.move(running, ROOT, new)
        found = node.domains.vm("dev1")
        assert found is not None
        assert (found.root, found.data) == (new, tops[DATA])
        assert node.written(new, 1)
        assert not node.written(dev1.root, 1)

    def test_one_that_is_off_is_not_merged(self, node: Node, dev1: Vm) -> None:
        assert dev1.root is not None
        base = dev1.root
        node.disks.split(dev1, on_top(node, dev1))
        new = node.volumes.layer("new", base)
        with pytest.raises(OperationError):
            node.disks.commit(dev1, ROOT, base)
        with pytest.raises(OperationError):
            node.disks.move(dev1, ROOT, new)

    def test_a_disk_becomes_larger(self, node: Node, dev1: Vm) -> None:
        node.disks.resize(dev1, DATA, 2 * GIB)
        assert sizes(node, dev1) == {ROOT: GIB, DATA: 2 * GIB}
        with pytest.raises(OperationError):
            node.disks.resize(dev1, DATA, GIB)
        node.disks.resize(run(node, dev1), ROOT, 3 * GIB)
        assert sizes(node, dev1) == {ROOT: 3 * GIB, DATA: 2 * GIB}

    # the network

    def test_places_on_the_network(self, node: Node, dev1: Vm) -> None:
        first = node.network.reserve("dev1", MACS[0])
        assert (first.mac, first.fqdn) == (MACS[0], dev1.fqdn)
        second = node.network.reserve("dev2")
        assert second.mac != first.mac
        assert second.address != first.address
        assert node.network.reserve("dev1") == first
        assert node.network.reserve("dev2") == second
        assert node.network.leases() == {"dev1": first, "dev2": second}
        found = node.domains.vm("dev1")
        assert found is not None
        assert found.lease == first
        with pytest.raises(OperationError, match="no address can be reserved"):
            node.network.reserve("dev3", MACS[0])  # it belongs to another one
        moved = node.network.reserve("dev2", MACS[1])
        assert moved.mac == MACS[1]
        for _ in range(2):
            node.network.release("dev1")
            assert node.network.leases() == {"dev2": moved}

    def test_a_network_that_is_gone(self, node: Node, dev1: Vm) -> None:
        node.network.reserve("dev1")
        node.lose_network()
        assert node.network.leases() == {}
        assert [(vm.name, vm.lease) for vm in node.domains.vms()] == [("dev1", None)]
        with pytest.raises(OperationError, match="no address can be reserved"):
            node.network.reserve("dev1")
        node.network.release("dev1")
        for _ in range(2):
            node.network.ensure()
        assert node.network.leases() == {}
        assert node.network.reserve("dev1").fqdn == dev1.fqdn

    # memory

    def test_a_memory_becomes_another_vm(self, node: Node, dev1: Vm) -> None:
        """Twice, one after the other: the file is written to, and works again."""
        runs = run(node, dev1)
        saved = node.memory.save(runs.fqdn, "dev1-memory.0123abcd.save")
        assert state(node) is VmState.SHUTOFF
        assert node.volumes.exists(saved.name)
        for number, name in enumerate(("dev2", "dev3")):
            fqdn, uuid = f"{name}.{node.domain}", f"{number}1111111-3333-4333-8333-333333333333"
            disks = {
                disk.role: node.volumes.layer(f"{name}-{disk.role}", disk.path)
                for disk in dev1.disks
            }
            change = DomainChange(
                name=fqdn, uuid=uuid, title=name, mac=f"52:54:00:bb:00:0{number}", disks=disks,
                facts=replace(DEV1, name=name),
            )  # fmt: skip
            node.domains.define(node.memory.definition(saved), change)
            node.memory.restore(saved, change)
            found = node.domains.vm(name)
            assert found is not None
            assert (found.state, found.uuid, found.mac) == (VmState.RUNNING, uuid, change.mac)
            assert {disk.role: disk.path for disk in found.disks} == disks
            node.write(fqdn, ROOT, 5)
            node.domains.shutdown(found, timeout=1, force=True)
            assert node.written(disks[ROOT], 5)
            for disk in dev1.disks:
                assert not node.written(disk.path, 5)

    def test_memory_that_is_not_there(self, node: Node, dev1: Vm) -> None:
        with pytest.raises(OperationError, match="can't be saved"):
            node.memory.save(dev1.fqdn, "memory.save")  # it is off
        assert not node.volumes.exists("memory.save")
        for path in (node.pool / "nothing", node.pool / "base-root"):  # which is a disk
            with pytest.raises(OperationError):
                node.memory.definition(path)
            with pytest.raises(OperationError):
                node.memory.restore(path, DomainChange(name=dev1.fqdn, uuid=dev1.uuid))
        assert state(node) is VmState.SHUTOFF

    # the pool

    def test_a_pool_that_is_gone(self, node: Node, dev1: Vm) -> None:
        node.lose_pool()
        assert (node.volumes.all(), node.volumes.unused()) == ([], [])
        assert not node.volumes.exists("base-root")
        assert node.volumes.sha256("base-root") is None
        assert node.volumes.users_of("base-root") == []
        assert sizes(node, dev1) == {ROOT: 0, DATA: 0}
        assert node.volumes.free_bytes() > 0
        assert dev1.root is not None
        with pytest.raises(OperationError, match="can't be created"):
            node.volumes.layer("top", dev1.root)
        for _ in range(2):
            node.volumes.ensure()
        assert [volume.name for volume in node.volumes.all()] == ["base-data", "base-root"]

    def test_a_pool_without_room(self, node: Node, dev1: Vm, tmp_path: Path) -> None:
        source, before = node.image(tmp_path / "image.qcow2"), node.volumes.free_bytes()
        node.volumes.upload("first", source, lambda _text: None)
        assert node.volumes.free_bytes() < before
        node.fill()
        assert dev1.root is not None
        with pytest.raises(OperationError, match="can't be created"):
            node.volumes.layer("top", dev1.root)
        with pytest.raises(OperationError, match="can't be written"):
            node.volumes.upload("second", source, lambda _text: None)
        names = {volume.name for volume in node.volumes.all()}
        assert names >= {"first", "base-root", "base-data"}
        assert not names & {"top", "second"}


class TestMemory(Contract):
    @pytest.fixture
    def node(self) -> Node:
        return MemoryNode()
