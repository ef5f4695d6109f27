"""What operations count on in a hypervisor: the memory host here, libvirt's in the kill tier.

One body for both, so that what holds for operations on the memory host holds on libvirt.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from devvm.domain.errors import OperationError
from devvm.domain.model import DATA, ROOT, DomainChange, DomainDisk, Purpose, Vm, VmState
from devvm.ports import services
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
    """The assertions; a subclass has a fixture `node`."""

    @pytest.fixture
    def hypervisor(self, node: Node) -> services.Hypervisor:
        return node.hypervisor

    @pytest.fixture
    def dev1(self, node: Node) -> Vm:
        return make(node)

    # what is not there

    def test_nothing_is_there(self, hypervisor: services.Hypervisor) -> None:
        hypervisor.check()
        assert (hypervisor.vms(), hypervisor.kept(), hypervisor.other_domains()) == ([], [], {})
        assert (hypervisor.volumes(), hypervisor.unused_volumes()) == ([], [])
        assert hypervisor.leases() == {}
        assert hypervisor.free_bytes() > 0
        total, free = hypervisor.memory_mib()
        assert total >= free > 0

    def test_names_that_are_unknown(self, hypervisor: services.Hypervisor) -> None:
        assert hypervisor.vm("dev1") is None
        assert hypervisor.kept_state("dev1.devvm.test@0123abcd") is None
        assert hypervisor.domain_uuid("dev1.devvm.test") is None
        assert hypervisor.disks("dev1.devvm.test") == []
        assert hypervisor.volume_exists("nothing") is False
        assert hypervisor.volume_sha256("nothing") is None
        assert hypervisor.users_of_volume("nothing") == []
        hypervisor.undefine("dev1.devvm.test")
        hypervisor.remove_domain("dev1.devvm.test")
        hypervisor.remove_volume("nothing")
        hypervisor.release_lease("dev1")

    def test_what_needs_a_domain_says_that_there_is_none(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        hypervisor.remove_domain(dev1.fqdn)
        for fails in (
            lambda: hypervisor.definition(dev1.fqdn),
            lambda: hypervisor.start(dev1),
            lambda: hypervisor.shutdown(dev1, timeout=1, force=True),
            lambda: hypervisor.rename_domain(dev1.fqdn, "other.devvm.test"),
            lambda: hypervisor.set_metadata(dev1.uuid, DEV1),
            lambda: hypervisor.read_guest_file(dev1.fqdn, "/etc/hostname"),
            lambda: hypervisor.authorize_key(dev1.fqdn, "ann", "ssh-ed25519 KEY"),
            lambda: hypervisor.commit_layers(dev1, ROOT, node.pool / "base-root"),
        ):
            with pytest.raises(OperationError):
                fails()

    # domains

    def test_a_domain_is_a_vm_once_it_has_facts(
        self, node: Node, hypervisor: services.Hypervisor
    ) -> None:
        disks = {ROOT: node.base("base-root"), DATA: node.base("base-data")}
        fqdn = f"dev1.{node.domain}"
        node.define(fqdn, UUIDS[0], MACS[0], disks)
        assert hypervisor.vm("dev1") is None
        assert hypervisor.other_domains() == {fqdn: "devvm did not make it"}
        assert hypervisor.domain_uuid(fqdn) == UUIDS[0]
        hypervisor.set_metadata(UUIDS[0], DEV1)
        (vm,) = hypervisor.vms()
        assert vm == hypervisor.vm("dev1")
        assert (vm.name, vm.fqdn, vm.uuid, vm.mac) == ("dev1", fqdn, UUIDS[0], MACS[0])
        assert (vm.metadata, vm.state, vm.lease) == (DEV1, VmState.SHUTOFF, None)
        assert (vm.root, vm.data) == (disks[ROOT], disks[DATA])
        assert hypervisor.other_domains() == {}
        assert [(d.role, d.path, d.size_bytes) for d in hypervisor.disks(fqdn)] == [
            (role, path, GIB) for role, path in disks.items()
        ]

    def test_power(self, node: Node, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        for _ in range(2):
            hypervisor.start(dev1)
            assert state(hypervisor) is VmState.RUNNING
        node.write(dev1.fqdn, ROOT, 1)  # it is up, and hears
        for _ in range(2):
            hypervisor.shutdown(dev1, timeout=20, force=False)
            assert state(hypervisor) is VmState.SHUTOFF

    def test_a_guest_that_does_not_answer(
        self, node: Node, hypervisor: services.Hypervisor
    ) -> None:
        deaf = make(node, answers=False)
        hypervisor.start(deaf)
        with pytest.raises(OperationError, match="did not shut down") as caught:
            hypervisor.shutdown(deaf, timeout=0.2, force=False)
        assert caught.value.resolution == "devvm stop dev1 --force"
        assert state(hypervisor) is VmState.RUNNING
        hypervisor.shutdown(deaf, timeout=0.2, force=True)
        assert state(hypervisor) is VmState.SHUTOFF

    def test_facts_of_one_that_runs(self, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        hypervisor.start(dev1)
        hypervisor.set_metadata(dev1.uuid, replace(DEV1, ready=True, generation=2))
        hypervisor.remove_domain(dev1.fqdn)
        assert hypervisor.vm("dev1") is None
        assert hypervisor.volume_exists("base-root")

    def test_there_is_no_agent(self, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        for _ in range(2):  # off, then on
            assert hypervisor.read_guest_file(dev1.fqdn, "/etc/hostname") is None
            assert hypervisor.authorize_key(dev1.fqdn, "ann", "ssh-ed25519 KEY") is False
            hypervisor.start(dev1)

    def test_a_state_is_kept(self, node: Node, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        name = f"{dev1.fqdn}@{KEPT.id}"
        definition = hypervisor.definition(dev1.fqdn)
        assert hypervisor.disks_in(definition) == dev1.disks
        change = DomainChange(name=name, uuid=UUIDS[1], mac=MACS[1], facts=KEPT, read_only=True)
        hypervisor.define(definition, change)
        assert hypervisor.kept() == [replace(KEPT, disks=dev1.disks)]
        assert hypervisor.kept_state(name) == hypervisor.kept()[0]
        assert hypervisor.kept_state(dev1.fqdn) is None
        assert [vm.name for vm in hypervisor.vms()] == ["dev1"]
        assert hypervisor.users_of_volume("base-root") == [dev1.fqdn, name]
        hypervisor.undefine(name)
        assert hypervisor.kept() == []

    def test_volumes_are_kept_without_a_vm(
        self, node: Node, hypervisor: services.Hypervisor
    ) -> None:
        disks = (DomainDisk(device="vdb", role=DATA, path=node.base("base-data")),)
        kept = replace(KEPT, purpose=Purpose.TRASH, whole=False)
        hypervisor.define_bare(f"dev1.{node.domain}@{KEPT.id}", UUIDS[1], disks, kept)
        assert hypervisor.kept() == [replace(kept, disks=disks)]

    def test_a_definition_is_replaced_by_its_uuid_only(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        other = node.base("other")
        definition = hypervisor.definition(dev1.fqdn)
        hypervisor.define(definition, DomainChange(disks={ROOT: other}))
        found = hypervisor.vm("dev1")
        assert found is not None
        assert (found.root, found.data, found.metadata) == (other, dev1.data, DEV1)
        with pytest.raises(OperationError):  # its name is another's
            hypervisor.define(definition, DomainChange(uuid=UUIDS[1]))

    def test_another_name(self, node: Node, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        hypervisor.rename_domain(dev1.fqdn, f"dev2.{node.domain}")
        assert hypervisor.domain_uuid(dev1.fqdn) is None
        assert hypervisor.domain_uuid(f"dev2.{node.domain}") == dev1.uuid
        hypervisor.rename_domain(f"dev2.{node.domain}", dev1.fqdn)
        hypervisor.start(dev1)
        with pytest.raises(OperationError):
            hypervisor.rename_domain(dev1.fqdn, f"dev2.{node.domain}")

    # volumes

    def test_an_image_is_put_into_the_pool(
        self, node: Node, hypervisor: services.Hypervisor, tmp_path: Path
    ) -> None:
        source = node.image(tmp_path / "image.qcow2")
        digest = sha256(source.read_bytes()).hexdigest()
        for _ in range(2):  # once, and again
            path = hypervisor.upload_volume("image", source, lambda _text: None)
            assert path == node.pool / "image"
            assert hypervisor.volume_sha256("image") == digest
        (volume,) = hypervisor.volumes()
        assert (volume.name, volume.path, volume.below) == ("image", path, None)
        assert volume.size_bytes == GIB
        hypervisor.remove_volume("image")
        assert not hypervisor.volume_exists("image")

    def test_layers_on_layers(self, node: Node, hypervisor: services.Hypervisor) -> None:
        base = node.base("base")
        middle = hypervisor.layer("middle", base)
        top = hypervisor.layer("top", middle, 2 * GIB)
        found = {v.name: (v.below, v.size_bytes) for v in hypervisor.volumes()}
        assert found == {"base": (None, GIB), "middle": (base, GIB), "top": (middle, 2 * GIB)}
        assert hypervisor.layer("top", base) == top  # one that a killed call left is replaced
        assert {v.name: v.below for v in hypervisor.volumes()}["top"] == base
        with pytest.raises(OperationError, match="can't be created"):
            hypervisor.layer("loose", node.pool / "nothing")

    def test_what_is_under_a_disk_is_needed(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        assert dev1.root is not None
        top = hypervisor.layer("top", dev1.root)
        hypervisor.split_disks(dev1, {ROOT: top})
        assert hypervisor.users_of_volume("base-root") == [dev1.fqdn]
        assert hypervisor.users_of_volume("top") == [dev1.fqdn]
        for name in ("base-root", "top"):
            with pytest.raises(OperationError, match="it is in use"):
                hypervisor.remove_volume(name)
            assert hypervisor.volume_exists(name)

    def test_what_no_domain_needs(self, node: Node, hypervisor: services.Hypervisor) -> None:
        """A layer before what is below it; only what is named as VMs' volumes are."""
        below = node.base(f"dev1.{node.domain}-root.00000001.qcow2")
        hypervisor.layer(f"dev1.{node.domain}-root.00000000.qcow2", below)
        node.base("box.img")
        names = [volume.name for volume in hypervisor.unused_volumes()]
        assert names == [f"dev1.{node.domain}-root.0000000{n}.qcow2" for n in (0, 1)]

    # disks of VMs

    def test_new_layers_under_one_that_is_off(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        tops = on_top(hypervisor, dev1)
        assert hypervisor.split_disks(dev1, tops) == "off"
        assert {d.role: d.path for d in hypervisor.disks(dev1.fqdn)} == tops

    def test_new_layers_under_one_that_runs(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        running = run(hypervisor, dev1)
        node.write(dev1.fqdn, ROOT, 1)
        tops = on_top(hypervisor, running)
        assert hypervisor.split_disks(running, tops) == "crash"  # no agent that could freeze it
        found = hypervisor.vm("dev1")
        assert found is not None
        assert {disk.role: disk.path for disk in found.disks} == tops
        assert {disk.role: disk.path for disk in hypervisor.disks(dev1.fqdn)} == tops
        node.write(dev1.fqdn, ROOT, 2)
        assert dev1.root is not None
        assert [node.written(dev1.root, place) for place in (1, 2)] == [True, False]
        assert [node.written(tops[ROOT], place) for place in (1, 2)] == [True, True]

    def test_layers_are_merged(self, node: Node, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        running = run(hypervisor, dev1)
        tops = on_top(hypervisor, running)
        hypervisor.split_disks(running, tops)
        node.write(dev1.fqdn, ROOT, 1)
        assert dev1.root is not None
        hypervisor.commit_layers(running, ROOT, dev1.root)
        found = hypervisor.vm("dev1")
        assert found is not None
        assert (found.root, found.data) == (dev1.root, tops[DATA])
        assert node.written(dev1.root, 1)
        assert hypervisor.users_of_volume("top-root") == []

    def test_a_disk_is_moved(self, node: Node, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        running = run(hypervisor, dev1)
        tops = on_top(hypervisor, running)
        hypervisor.split_disks(running, tops)
        node.write(dev1.fqdn, ROOT, 1)
        assert dev1.root is not None
        new = hypervisor.layer("new", dev1.root)
        hypervisor.move_disk(running, ROOT, new)
        found = hypervisor.vm("dev1")
        assert found is not None
        assert (found.root, found.data) == (new, tops[DATA])
        assert node.written(new, 1)
        assert not node.written(dev1.root, 1)

    def test_one_that_is_off_is_not_merged(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        assert dev1.root is not None
        base = dev1.root
        hypervisor.split_disks(dev1, on_top(hypervisor, dev1))
        new = hypervisor.layer("new", base)
        with pytest.raises(OperationError):
            hypervisor.commit_layers(dev1, ROOT, base)
        with pytest.raises(OperationError):
            hypervisor.move_disk(dev1, ROOT, new)

    def test_a_disk_becomes_larger(self, hypervisor: services.Hypervisor, dev1: Vm) -> None:
        hypervisor.resize_disk(dev1, DATA, 2 * GIB)
        assert sizes(hypervisor, dev1) == {ROOT: GIB, DATA: 2 * GIB}
        with pytest.raises(OperationError):
            hypervisor.resize_disk(dev1, DATA, GIB)
        hypervisor.resize_disk(run(hypervisor, dev1), ROOT, 3 * GIB)
        assert sizes(hypervisor, dev1) == {ROOT: 3 * GIB, DATA: 2 * GIB}

    # the network

    def test_places_on_the_network(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        first = hypervisor.reserve_lease("dev1", MACS[0])
        assert (first.mac, first.fqdn) == (MACS[0], dev1.fqdn)
        second = hypervisor.reserve_lease("dev2")
        assert second.mac != first.mac
        assert second.address != first.address
        assert hypervisor.reserve_lease("dev1") == first
        assert hypervisor.reserve_lease("dev2") == second
        assert hypervisor.leases() == {"dev1": first, "dev2": second}
        found = hypervisor.vm("dev1")
        assert found is not None
        assert found.lease == first
        with pytest.raises(OperationError, match="no address can be reserved"):
            hypervisor.reserve_lease("dev3", MACS[0])  # it is another's
        moved = hypervisor.reserve_lease("dev2", MACS[1])
        assert moved.mac == MACS[1]
        for _ in range(2):
            hypervisor.release_lease("dev1")
            assert hypervisor.leases() == {"dev2": moved}

    def test_a_network_that_is_gone(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        hypervisor.reserve_lease("dev1")
        node.lose_network()
        assert hypervisor.leases() == {}
        assert [(vm.name, vm.lease) for vm in hypervisor.vms()] == [("dev1", None)]
        with pytest.raises(OperationError, match="no address can be reserved"):
            hypervisor.reserve_lease("dev1")
        hypervisor.release_lease("dev1")
        for _ in range(2):
            hypervisor.ensure_network()
        assert hypervisor.leases() == {}
        assert hypervisor.reserve_lease("dev1").fqdn == dev1.fqdn

    # the pool

    def test_a_pool_that_is_gone(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm
    ) -> None:
        node.lose_pool()
        assert (hypervisor.volumes(), hypervisor.unused_volumes()) == ([], [])
        assert not hypervisor.volume_exists("base-root")
        assert hypervisor.volume_sha256("base-root") is None
        assert hypervisor.users_of_volume("base-root") == []
        assert sizes(hypervisor, dev1) == {ROOT: 0, DATA: 0}
        assert hypervisor.free_bytes() > 0
        assert dev1.root is not None
        with pytest.raises(OperationError, match="can't be created"):
            hypervisor.layer("top", dev1.root)
        for _ in range(2):
            hypervisor.ensure_pool()
        assert [volume.name for volume in hypervisor.volumes()] == ["base-data", "base-root"]

    def test_a_pool_without_room(
        self, node: Node, hypervisor: services.Hypervisor, dev1: Vm, tmp_path: Path
    ) -> None:
        source, before = node.image(tmp_path / "image.qcow2"), hypervisor.free_bytes()
        hypervisor.upload_volume("first", source, lambda _text: None)
        assert hypervisor.free_bytes() < before
        node.fill()
        assert dev1.root is not None
        with pytest.raises(OperationError, match="can't be created"):
            hypervisor.layer("top", dev1.root)
        with pytest.raises(OperationError, match="can't be written"):
            hypervisor.upload_volume("second", source, lambda _text: None)
        names = {volume.name for volume in hypervisor.volumes()}
        assert names >= {"first", "base-root", "base-data"}
        assert not names & {"top", "second"}


class TestMemory(Contract):
    @pytest.fixture
    def node(self) -> Node:
        return MemoryNode()
