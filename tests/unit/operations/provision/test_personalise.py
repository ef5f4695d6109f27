"""Who personalises a VM: the program in its box, or Ansible."""

from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError
from devvm.operations.core.machine import Machine
from devvm.operations.provision import personalise
from devvm.operations.vm import create, rebuild
from tests.support.world import ANN, RELEASE, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def make(world):
    request = create.CreateRequest(name="dev1", engineer=ANN)
    return create.create(world.services, request, world.run("create dev1"))


def again(world):
    run = world.run("rebuild dev1")
    return rebuild.rebuild(world.services, rebuild.RebuildRequest(name="dev1", engineer=ANN), run)


def test_the_program_of_the_box_gets_the_variables_of_the_playbook(world, tmp_path):
    make(world)
    by_ansible = world.provisioner.variables
    assert by_ansible["engineer_login"] == "ann"

    other = World(tmp_path / "other")
    other.shell.personalises = True
    make(other)
    (told,) = other.shell.personalised
    assert other.provisioner.variables == {}
    assert told.keys() == by_ansible.keys()
    assert told["devvm_stamp"].keys() == by_ansible["devvm_stamp"].keys()
    assert "exit code 0" in world_log(other)


def world_log(world):
    return "".join(file.read_text() for file in world.state.logs.glob("*create-dev1*"))


def test_a_rebuilt_vm_is_personalised_by_its_new_box(world):
    make(world)
    world.shell.personalises = True
    before = dict(world.provisioner.variables)
    again(world)
    assert len(world.shell.personalised) == 1
    assert world.provisioner.variables == before


def test_data_are_brought_up_only_where_they_are_of_another_release(world):
    world.shell.personalises = True
    make(world)
    again(world)
    vm = world.vm("dev1")
    older = replace(vm.metadata, release="2026.11.01-0123456789ab")
    world.services.domains.set_metadata(vm.uuid, older)
    again(world)
    assert [told["devvm_older_data"] for told in world.shell.personalised] == [False, False, True]


def test_a_vm_that_people_have_worked_on_is_ansibles(world):
    """Somebody may have changed the program in such a VM."""
    world.shell.personalises = True
    make(world)
    run = world.run("verify dev1")
    personalise.again(Machine(world.services, "dev1"), ANN, RELEASE, run)
    assert len(world.shell.personalised) == 1
    assert world.provisioner.variables["engineer_login"] == "ann"


def test_a_program_that_fails_says_why_and_create_is_undone(world):
    world.shell.personalises = True
    world.shell.program_answers = (1, "", "some trace\ngit failed: no space left\n")
    with pytest.raises(OperationError) as caught:
        make(world)
    assert caught.value.details == "git failed: no space left"
    assert "less " in caught.value.resolution
    assert world.remnants("dev1") == []
    assert "some trace" in world_log(world)
