"""Lost parts of a VM on this host are recreated: its folder, its key, its domain."""

import secrets
import shutil
from dataclasses import replace

import pytest

from devvm.domain.disk import DATA
from devvm.domain.errors import OperationError
from devvm.operations.guest import ssh
from devvm.operations.provision import repair
from devvm.operations.vm import lifecycle, snapshots
from tests.support.memory_host import Layer
from tests.support.world import Killed, World


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.write("dev1", "home/note", "mine")
    return world


def restore_ssh(world):
    repair.restore_ssh(world.services, world.vm(), world.run("doctor --fix"))


def off(world):
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    world.again()


def folder(world):
    return {
        str(path.relative_to(world.state.vm("dev1"))): path.read_text()
        for path in world.state.vm("dev1").rglob("*")
        if path.is_file() and path.name != "runs.json"
    }


def test_nothing_lost_is_written_as_it_is(dev1):
    before = folder(dev1)
    restore_ssh(dev1)
    after = folder(dev1)
    assert {k: v for k, v in after.items() if k != repair.DEFINITION} == {
        k: v for k, v in before.items() if k != repair.DEFINITION
    }


@pytest.mark.parametrize("file", [*ssh.FILES, ".vagrant"])
def test_each_file_that_is_lost_is_there_again(dev1, file):
    before = folder(dev1)
    path = dev1.state.vm("dev1") / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert ssh.missing_files(dev1.machine(), "dev1.devvm.test")
    restore_ssh(dev1)
    assert ssh.missing_files(dev1.machine(), "dev1.devvm.test") == []
    assert folder(dev1)["known_hosts"] == before["known_hosts"]


def test_a_lost_folder_of_a_vm_that_runs_gets_a_new_key_by_its_agent(dev1):
    shutil.rmtree(dev1.state.vm("dev1"))
    restore_ssh(dev1)
    vm = dev1.vm()
    key = ssh.own_key(dev1.machine())
    assert dev1.host.guests[vm.uuid].admitted == {key}
    assert dev1.host.domains[vm.fqdn].oem_string == ssh.oem_string(key)
    assert ssh.missing_files(dev1.machine(), vm.fqdn) == []
    known = (dev1.state.vm("dev1") / "known_hosts").read_text()
    assert known == f"dev1.devvm.test {vm.metadata.host_key}\n"
    text = (dev1.state.vm("dev1") / "Vagrantfile").read_text()
    assert vm.uuid in text
    assert vm.mac in text
    assert vm.data.name in text


def test_one_that_is_off_takes_the_new_key_when_it_starts(dev1):
    off(dev1)
    shutil.rmtree(dev1.state.vm("dev1"))
    restore_ssh(dev1)
    key = ssh.own_key(dev1.machine())
    assert "authorize_key" not in dev1.host.calls
    lifecycle.start(dev1.services, "dev1", dev1.run("start dev1"))
    assert dev1.host.guests[dev1.vm().uuid].oem_string == ssh.oem_string(key)
    assert any(key in argv for _, argv in dev1.shell.asked)  # also to the engineer's account


def test_one_whose_agent_does_not_answer_says_what_to_do(dev1):
    dev1.host.agent = False
    shutil.rmtree(dev1.state.vm("dev1"))
    restore_ssh(dev1)
    assert any("devvm restart dev1" in note for note in dev1.reporter.notes)
    assert ssh.missing_files(dev1.machine(), "dev1.devvm.test") == []


def test_the_lease_is_the_one_that_the_card_has(dev1):
    vm = dev1.vm()
    dev1.host.leases.clear()
    restore_ssh(dev1)
    assert dev1.host.leases["dev1"].mac == vm.mac


def test_killed_at_every_step_and_typed_again_the_key_is_one_that_the_vm_lets_in(tmp_path):
    for number in range(1, 20):
        world = World(tmp_path / str(number))
        world.create()
        shutil.rmtree(world.state.vm("dev1"))

        def another_key(path, comment):
            path.write_text("PRIVATE")
            key = f"ecdsa-sha2-nistp256 {secrets.token_hex(4)} {comment}"
            path.with_name(f"{path.name}.pub").write_text(f"{key}\n")
            return key

        world.shell.new_key = another_key
        world.host.fail_number, world.host.failure = number, Killed()
        try:
            restore_ssh(world)
        except Killed:
            pass
        else:
            break
        where = world.host.calls[-1]
        world.again()
        restore_ssh(world)
        key = ssh.own_key(world.machine())
        domain = world.host.domains["dev1.devvm.test"]
        assert domain.oem_string == ssh.oem_string(key), where
        assert key in world.host.guests[domain.uuid].admitted, where
    assert number > 3


def older(world):
    vm = world.vm()
    world.services.domains.set_metadata(vm.uuid, replace(vm.metadata, host_key=""))
    return vm.metadata.host_key


def test_the_host_key_of_an_older_vm_comes_from_its_pin(dev1):
    key = older(dev1)
    restore_ssh(dev1)
    assert dev1.vm().metadata.host_key == key


def test_or_from_its_agent_when_that_is_lost_too(dev1):
    key = older(dev1)
    shutil.rmtree(dev1.state.vm("dev1"))
    restore_ssh(dev1)
    assert dev1.vm().metadata.host_key == key
    assert key in (dev1.state.vm("dev1") / "known_hosts").read_text()


@pytest.mark.parametrize("stopped", [False, True])
def test_or_it_is_not_known_and_nothing_is_trusted(dev1, stopped):
    older(dev1)
    if stopped:
        off(dev1)
    dev1.host.agent = False
    shutil.rmtree(dev1.state.vm("dev1"))
    with pytest.raises(OperationError, match="host key of dev1 is unknown") as caught:
        restore_ssh(dev1)
    assert "devvm doctor --fix" in caught.value.resolution
    assert not (dev1.state.vm("dev1") / "known_hosts").exists()


def test_files_of_a_vm_without_a_key_or_without_a_domain_are_not_written(dev1):
    (dev1.state.vm("dev1") / "id_ecdsa").unlink()
    (dev1.state.vm("dev1") / "Vagrantfile").unlink()
    repair.write_files(dev1.machine())
    assert not (dev1.state.vm("dev1") / "Vagrantfile").exists()
    repair.write_files(dev1.machine("dev2"))
    assert dev1.state.names() == ["dev1"]


def test_a_deleted_domain_is_defined_again_as_it_was(dev1):
    off(dev1)
    vm = dev1.vm()
    dev1.host.domains.pop(vm.fqdn)
    assert repair.redefine(dev1.machine()) == vm
    assert dev1.read("dev1", "home/note") == "mine"


def test_it_has_the_newest_layers_whatever_was_written_down(dev1):
    saved = (dev1.state.vm("dev1") / repair.DEFINITION).read_text()
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    dev1.write("dev1", "home/note", "since")
    (dev1.state.vm("dev1") / repair.DEFINITION).write_text(saved)
    off(dev1)
    dev1.host.domains.pop("dev1.devvm.test")
    repair.redefine(dev1.machine())
    assert dev1.read("dev1", "home/note") == "since"


def test_garbage_of_a_killed_operation_is_not_taken_for_its_data(dev1):
    off(dev1)
    vm = dev1.vm()
    for token in ("00000000", "zzzzzzzz"):  # nobody removed it; names have no order
        dev1.host.volumes[f"dev1.devvm.test-data.{token}.qcow2"] = Layer()
    dev1.host.domains.pop(vm.fqdn)
    found = repair.redefine(dev1.machine())
    assert found is not None
    assert found.data == vm.data


def test_where_its_data_or_its_definition_are_gone_it_is_not_defined(dev1):
    off(dev1)
    vm = dev1.vm()
    definition = dev1.state.vm("dev1") / repair.DEFINITION
    text = definition.read_text()
    dev1.host.domains.pop(vm.fqdn)
    definition.unlink()
    assert repair.redefine(dev1.machine()) is None
    definition.write_text(text)
    dev1.host.volumes.pop(next(d.path.name for d in vm.disks if d.role == DATA))
    assert repair.redefine(dev1.machine()) is None
    assert dev1.vm() is None


def test_somebody_elses_domain_of_the_name_is_left_alone(dev1):
    off(dev1)
    dev1.host.domains.pop("dev1.devvm.test")
    dev1.foreign("dev1.devvm.test")
    assert repair.redefine(dev1.machine()) is None
    assert dev1.services.domains.uuid("dev1.devvm.test") == "foreign"
