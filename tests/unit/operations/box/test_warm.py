"""Warm boxes: made of a checked VM, used by whatever fits, given up without a VM that suffers."""

from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.disk import MEMORY, ROOT
from devvm.domain.errors import NotFoundError, OperationError, ParityError
from devvm.domain.vm import VmState
from devvm.operations.box import boxes
from devvm.operations.doctor import doctor
from devvm.operations.storage import frozen
from devvm.operations.vm import create, rebuild, trash
from tests.support.world import ANN, RELEASE, Killed, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def warm(world):
    made = boxes.make_warm(world.services, RELEASE, world.run("box warm"))
    world.again()
    return made


def make(world, name="dev1", services=None):
    request = create.CreateRequest(name=name, engineer=ANN)
    return create.create(services or world.services, request, world.run(f"create {name}"))


def do_rebuild(world):
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN, release=RELEASE)
    return rebuild.rebuild(world.services, request, world.run("rebuild dev1"))


def is_ready(world):
    vm = world.vm()
    return vm is not None and vm.metadata.ready


def of_vms(world):
    """All that there is of VMs, other than the warm box and the box's image."""
    found = [*world.host.volumes, *world.host.domains, *world.host.leases, *world.state.names()]
    kept = frozen.warm_box(world.services, RELEASE)
    own = {disk.path.name for disk in kept.disks} if kept else set()
    return [
        name
        for name in found
        if name not in own and "@" not in name and not name.startswith("box-")
    ]


def test_it_has_a_root_and_a_memory_and_nothing_else_of_its_vm(world):
    made = warm(world)
    assert [disk.role for disk in frozen.warm_box(world.services, RELEASE).disks] == [ROOT, MEMORY]
    assert made.fits == "QEMU 7.2 with the processor qemu64, 2 CPUs, 2048 MiB, root disk of 20 GiB"
    assert of_vms(world) == []
    assert world.unused() == []
    assert doctor.examine(world.services).findings == ()


def test_create_restores_it_and_the_vm_is_like_any_other(world):
    made = warm(world)
    result = make(world)
    assert world.reporter.phases == [
        "check", "network", "disks", "restore", "personalise", "verify"
    ]  # fmt: skip
    assert "agent_thaw" in world.host.calls
    assert result.vm.metadata.ready
    assert world.host.chain(result.vm.root)[1] == frozen.path_of(made, ROOT)
    assert (world.state.vm("dev1") / "Vagrantfile").is_file()
    trash.destroy(world.services, "dev1", world.run("destroy dev1"), purge=True)
    assert of_vms(world) == []
    assert world.unused() == []


def test_rebuild_restores_it_with_the_data_of_the_vm(world):
    world.create()
    world.write("dev1", "home/note", "mine")
    made = warm(world)
    do_rebuild(world)
    assert "restore" in world.reporter.phases
    assert "boot" not in world.reporter.phases
    assert world.read("dev1", "home/note") == "mine"
    assert world.host.chain(world.vm().root)[1] == frozen.path_of(made, ROOT)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"memory_mib": 4096}, "this VM has QEMU 7.2 with the processor qemu64, 2 CPUs, 4096 MiB"),
        ({"cpus": 4}, "this VM has QEMU 7.2 with the processor qemu64, 4 CPUs"),
        ({"root_gib": 40}, "root disk of 40 GiB"),
        ({"extra_disks": ({"name": "scratch", "size_gib": 1},)}, "other disks"),
    ],
)
def test_a_vm_that_it_does_not_fit_boots_and_says_so_in_a_line(world, settings, said):
    warm(world)
    checked = type(world.config.vm).model_validate(settings)
    services = replace(world.services, config=world.config.model_copy(update={"vm": checked}))
    assert make(world, services=services).vm.metadata.ready
    assert "boot" in world.reporter.phases
    assert "restore" not in world.reporter.phases
    (note,) = (note for note in world.reporter.notes if said in note)
    assert "\n" not in note


def test_another_emulator_does_not_fit(world, monkeypatch):
    warm(world)
    monkeypatch.setattr(type(world.services.host), "emulator", lambda _self, _driver: "QEMU 8.0")
    make(world)
    assert "boot" in world.reporter.phases
    (note,) = (note for note in world.reporter.notes if "the warm box is for QEMU 7.2" in note)
    assert note.endswith(f"to make another: devvm box warm {RELEASE}")


def test_with_the_setting_off_it_boots_without_a_word(world):
    warm(world)
    make(world, services=world.configured(warm=False))
    assert "boot" in world.reporter.phases
    assert not any("warm" in note for note in world.reporter.notes)


@pytest.mark.parametrize("act", [make, do_rebuild])
@pytest.mark.parametrize("broken", ["restore_memory", "agent_thaw", "thaws", "agent", "wait"])
def test_if_it_can_not_be_restored_the_vm_boots(world, act, broken):
    """The same volumes are there as if it had booted at once."""
    if act is do_rebuild:
        world.create()
    warm(world)
    if broken == "thaws":
        world.host.thaws = 1
    elif broken == "agent":
        world.host.agent = False
    else:
        world.host.fail_once(broken, OperationError("broken"))
    act(world)
    assert world.vm().state is VmState.RUNNING
    assert world.vm().metadata.ready
    assert world.reporter.phases.index("restore") < world.reporter.phases.index("boot")
    assert any("could not be restored" in note for note in world.reporter.notes)
    assert world.unused() == []
    assert world.host.chain(world.vm().root)[1].name.startswith("box-")


@pytest.mark.parametrize("act", [make, do_rebuild])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda host, memory, _: host.volumes.pop(memory), "has lost"),
        (lambda host, _, root: host.volumes.pop(root), "has lost"),
        (lambda host, memory, _: setattr(host.volumes[memory], "saved", None), "could not be"),
    ],
)
def test_a_damaged_one_is_not_used_and_doctor_says_what_to_type(world, act, harm, said):
    if act is do_rebuild:
        world.create()
    made = warm(world)
    harm(world.host, frozen.path_of(made, MEMORY).name, frozen.path_of(made, ROOT).name)
    act(world)
    assert world.vm().metadata.ready
    assert "boot" in world.reporter.phases
    assert any(said in note for note in world.reporter.notes)
    assert world.unused() == []
    found = [one.advice for one in doctor.examine(world.services).findings]
    assert found == ([f"devvm box warm {RELEASE}"] if said == "has lost" else [])
    warm(world)
    assert doctor.examine(world.services).findings == ()


@pytest.mark.parametrize("failure", [Killed(), OperationError("broken"), KeyboardInterrupt()])
def test_a_create_that_ends_at_any_step_leaves_nothing_and_can_be_typed_again(tmp_path, failure):
    first = World(tmp_path / "first")
    warm(first)
    make(first)
    for number in range(1, len(first.host.calls) + 1):
        world = World(tmp_path / str(number))
        warm(world)
        world.host.fail_number, world.host.failure = number, failure
        try:
            make(world)
        except type(failure):
            where = world.host.calls[-1]
            if not isinstance(failure, Killed) and not is_ready(world):
                assert of_vms(world) == [], (number, where)
        world.again()
        if not is_ready(world):
            make(world)
        assert world.vm().metadata.ready
        assert world.unused() == []


def test_making_one_that_ends_at_any_step_leaves_the_old_one_or_the_new_one(tmp_path):
    first = World(tmp_path / "first")
    warm(first)
    boxes.make_warm(first.services, RELEASE, first.run("box warm"))
    for number in range(1, len(first.host.calls) + 1):
        world = World(tmp_path / str(number))
        warm(world)
        world.host.fail_number, world.host.failure = number, Killed()
        with pytest.raises(Killed):
            boxes.make_warm(world.services, RELEASE, world.run("box warm"))
        world.again()
        make(world)  # with either
        assert "restore" in world.reporter.phases
        warm(world)
        assert len(frozen.warm_boxes(world.services, RELEASE)) == 1
        trash.destroy(world.services, "dev1", world.run("destroy dev1"), purge=True)
        assert world.unused() == [], number
        assert of_vms(world) == [], number


def test_a_new_one_takes_the_place_of_the_old_one_under_vms(world):
    old = warm(world)
    make(world)
    new = warm(world)
    assert [one.id for one in frozen.warm_boxes(world.services, RELEASE)] == [new.id]
    assert world.services.volumes.exists(frozen.path_of(old, ROOT).name)
    assert not world.services.volumes.exists(frozen.path_of(old, MEMORY).name)
    trash.destroy(world.services, "dev1", world.run("destroy dev1"), purge=True)
    assert not world.services.volumes.exists(frozen.path_of(old, ROOT).name)


def test_a_vm_that_does_not_pass_makes_none(world):
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(ParityError, match="the box fails 1 of 1 checks on the release"):
        warm(world)
    assert frozen.warm_box(world.services, RELEASE) is None
    assert of_vms(world) == []


def test_a_guest_that_can_not_be_prepared_makes_none(world):
    world.host.thaws = 1
    with pytest.raises(OperationError, match="warm failed in boxcheck-"):
        warm(world)
    assert frozen.warm_box(world.services, RELEASE) is None
    assert of_vms(world) == []
    assert world.unused() == []


def test_it_is_removed_and_vms_stay(world):
    warm(world)
    make(world)
    assert boxes.cool(world.services, RELEASE, world.run("box warm --remove"))
    assert not boxes.cool(world.services, RELEASE, world.run("box warm --remove"))
    assert world.vm().state is VmState.RUNNING
    assert world.unused() == []


def test_no_box(world):
    with pytest.raises(NotFoundError):
        boxes.make_warm(world.services, "2020.01.01-aaaaaaaaaaaa", world.run("box warm"))
