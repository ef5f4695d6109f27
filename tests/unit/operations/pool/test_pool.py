"""The pool: made in advance, taken once, dropped when it no longer fits, whatever is killed."""

from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.disk import DATA, MEMORY, ROOT
from devvm.domain.errors import DevvmError, HostNotReadyError, LockedError, OperationError
from devvm.operations.box import boxes
from devvm.operations.doctor import doctor
from devvm.operations.pool import pool, sizes
from devvm.operations.storage import frozen
from devvm.operations.vm import create, lifecycle, trash
from tests.support.world import ANN, GIB, RELEASE, Killed, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def fill(world, count=1, services=None):
    services = services or world.services
    sizes.set_size(services, sizes.NEWEST, count)
    found = pool.fill(services, world.run("pool fill"))
    world.again()
    return found


def make(world, name="dev1", services=None):
    request = create.CreateRequest(name=name, engineer=ANN)
    return create.create(services or world.services, request, world.run(f"create {name}"))


def destroy(world, name="dev1"):
    trash.destroy(world.services, name, world.run(f"destroy {name}"), purge=True)


def left(world):
    """All that there is besides spares, warm boxes and the box's image."""
    kept = [one for one in world.services.domains.saved_states() if one.fits]
    own = {disk.path.name for one in kept for disk in one.disks}
    found = [*world.host.volumes, *world.host.domains, *world.host.leases, *world.state.names()]
    return [
        name
        for name in found
        if name not in own and "@" not in name and not name.startswith("box-")
    ]


def test_nothing_is_made_unless_somebody_asks(world):
    found = pool.fill(world.services, world.run("pool fill"))
    assert (found.wanted, found.spares) == ({}, ())
    assert doctor.examine(world.services).findings == ()


def test_a_spare_is_a_checked_vm_without_a_domain_that_runs(world):
    found = fill(world, 2)
    assert found.right
    assert found.ready(RELEASE) == 2
    (one, other) = frozen.spares(world.services)
    assert {disk.role for disk in one.disks} == {ROOT, DATA, MEMORY}
    assert not {disk.path for disk in one.disks} & {disk.path for disk in other.disks}
    assert left(world) == []
    assert world.unused() == []
    assert world.services.domains.vms() == []
    assert doctor.examine(world.services).findings == ()


def test_create_takes_the_oldest_and_the_vm_is_like_any_other(world):
    fill(world, 2)
    first, second = frozen.spares(world.services)
    result = make(world)
    assert world.reporter.phases == [
        "check", "network", "disks", "take", "personalise", "verify"
    ]  # fmt: skip
    assert "make_data_disk" not in world.host.calls
    assert frozen.spares(world.services) == [second]
    assert world.host.chain(result.vm.root)[1] == frozen.path_of(first, ROOT)
    assert not world.services.volumes.exists(frozen.path_of(first, MEMORY).name)
    key = world.read("dev1", "identity/ssh_host_ed25519_key.pub")
    assert key.split()[2] == "dev1.devvm.test"
    assert world.host.guests[result.vm.uuid].host_key == result.vm.metadata.host_key
    destroy(world)
    assert left(world) == []
    assert world.unused() == []


def test_a_spare_is_taken_once_even_by_two_at_the_same_time(world):
    fill(world)
    (spare,) = frozen.spares(world.services)
    with world.state.lock(spare.vm.name, "create dev1"):
        make(world, "dev2")
    assert "boot" in world.reporter.phases
    assert frozen.spares(world.services) == [spare]


def test_a_larger_data_disk_is_a_larger_layer(world):
    fill(world)
    result = make(world, services=world.configured(data_gib=40))
    assert "take" in world.reporter.phases
    data = next(disk for disk in result.vm.disks if disk.role == DATA)
    assert world.host.volumes[data.path.name].size == 40 * GIB


@pytest.mark.parametrize(
    "settings",
    [
        {"memory_mib": 4096}, {"cpus": 4}, {"root_gib": 40}, {"data_gib": 10}, {"warm": False},
        {"extra_disks": ({"name": "scratch", "size_gib": 1},)},
    ],
)  # fmt: skip
def test_a_vm_that_a_spare_does_not_fit_is_made_without_it(world, settings):
    fill(world)
    checked = type(world.config.vm).model_validate(settings)
    services = replace(world.services, config=world.config.model_copy(update={"vm": checked}))
    assert make(world, services=services).vm.metadata.ready
    assert "boot" in world.reporter.phases
    assert len(frozen.spares(world.services)) == 1
    assert not any("spare" in note for note in world.reporter.notes)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("broken", ["restore_memory", "agent_thaw", "wait"])
def test_if_a_spare_can_not_be_used_the_vm_is_made_without_it(world, warm, broken):
    if warm:
        boxes.make_warm(world.services, RELEASE, world.run("box warm"))
    fill(world)
    world.host.fail_once(broken, OperationError("broken"))
    result = make(world)
    assert result.vm.metadata.ready
    assert "take" in world.reporter.phases
    assert ("restore" in world.reporter.phases) == warm
    assert ("boot" in world.reporter.phases) != warm
    assert [note for note in world.reporter.notes if "spare" in note] == [
        "A spare could not be used (broken)"
    ]
    assert world.unused() == []
    assert len(frozen.spares(world.services)) == 1


def test_a_create_that_fails_later_leaves_nothing_of_the_spare(world):
    fill(world)
    world.host.fail_once("set_metadata_ready", OperationError("broken"))
    with pytest.raises(OperationError, match="broken"):
        make(world)
    assert left(world) == []
    assert world.unused() == []


@pytest.mark.parametrize("failure", [Killed(), OperationError("broken"), KeyboardInterrupt()])
def test_a_create_that_ends_at_any_step_leaves_nothing_and_can_be_typed_again(tmp_path, failure):
    first = World(tmp_path / "first")
    fill(first)
    make(first)
    for number in range(1, len(first.host.calls) + 1):
        world = World(tmp_path / str(number))
        fill(world)
        world.host.fail_number, world.host.failure = number, failure
        try:
            make(world)
        except type(failure):
            where = world.host.calls[-1]
            if isinstance(failure, OperationError) and world.vm() is None:
                assert left(world) == [], (number, where)
        world.again()
        if world.vm() is None or not world.vm().metadata.ready:
            make(world)
        assert world.vm().metadata.ready
        fill(world)  # which removes what a killed command left of a spare
        destroy(world)
        assert world.unused() == [], number
        assert left(world) == [], number
        assert pool.look(world.services).right


@pytest.mark.parametrize("failure", [Killed(), OperationError("broken"), KeyboardInterrupt()])
def test_a_fill_that_ends_at_any_step_can_be_typed_again(tmp_path, failure):
    first = World(tmp_path / "first")
    sizes.set_size(first.services, sizes.NEWEST, 1)
    pool.fill(first.services, first.run("pool fill"))
    for number in range(1, len(first.host.calls) + 1):
        world = World(tmp_path / str(number))
        sizes.set_size(world.services, sizes.NEWEST, 1)
        world.host.fail_number, world.host.failure = number, failure
        try:
            pool.fill(world.services, world.run("pool fill"))
        except type(failure):
            pass
        world.again()
        found = fill(world)
        assert found.right
        assert len(found.spares) == 1
        assert (left(world), world.unused()) == ([], []), number
        assert doctor.examine(world.services).findings == ()


def test_a_spare_that_a_killed_create_took_is_there_again_when_that_is_ended(world):
    fill(world)
    (spare,) = frozen.spares(world.services)
    world.host.fail_once("agent_thaw", Killed())
    with pytest.raises(Killed):
        make(world)
    world.again()
    (shown,) = pool.look(world.services).spares
    assert (shown.busy, shown.stale) == (True, "")
    assert {one.kind for one in doctor.examine(world.services).findings} == {"unfinished"}
    assert pool.fill(world.services, world.run("pool fill")).right
    doctor.fix(world.services, world.run("doctor"))
    assert frozen.spares(world.services) == [spare]
    (shown,) = pool.look(world.services).spares
    assert (shown.busy, shown.stale) == (False, "")
    make(world)
    assert "take" in world.reporter.phases


def test_fewer_are_dropped_and_the_newest_stay(world):
    fill(world, 3)
    newest = frozen.spares(world.services)[-1]
    found = fill(world, 1)
    assert [one.kept for one in found.spares] == [newest]
    assert fill(world, 0).spares == ()
    assert (left(world), world.unused()) == ([], [])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"memory_mib": 4096}, "new VMs have QEMU 7.2 with the processor qemu64, 2 CPUs, 4096 MiB"),
        ({"data_gib": 10}, "its data disk is larger than those of new VMs"),
        ({"warm": False}, "no spares of this release are wanted"),
    ],
)
def test_spares_that_no_longer_fit_are_removed(world, settings, why):
    fill(world)
    services = world.configured(**settings)
    (stale,) = pool.look(services).spares
    assert why in stale.stale
    problems = [one.problem for one in doctor.examine(services).findings]
    assert any(why in problem for problem in problems)
    assert pool.drop_stale(services, world.run("pool fill")) == 1
    assert frozen.spares(services) == []
    assert (left(world), world.unused()) == ([], [])


def test_one_that_is_not_what_was_asked_for_is_not_made_again_and_again(world):
    """The VMs of this world have 2 GiB, whatever they should have."""
    with pytest.raises(OperationError, match="the spare VM is not like new VMs") as caught:
        fill(world, 3, world.configured(memory_mib=4096))
    assert "2048 MiB" in caught.value.details
    world.again()
    assert frozen.spares(world.services) == []
    assert (left(world), world.unused()) == ([], [])


def test_a_new_box_makes_the_spares_of_the_older_one_stale(world):
    fill(world)
    (old,) = frozen.spares(world.services)
    newer = replace(world.box, release="2026.12.24-00aa11bb22cc")
    world.boxes.boxes.insert(0, newer)
    world.host.added_boxes.add(newer.release)
    found = pool.look(world.services)
    assert found.missing == {newer.release: 1}
    assert found.spares[0].stale == "no spares of this release are wanted"
    found = fill(world)
    assert found.right
    assert old not in frozen.spares(world.services)
    assert {one.kept.vm.release for one in found.spares} == {newer.release}


def test_a_release_of_its_own_has_its_own_number(world):
    newer = replace(world.box, release="2026.12.24-00aa11bb22cc")
    world.boxes.boxes.insert(0, newer)
    sizes.set_size(world.services, RELEASE, 2)
    assert fill(world, 1).wanted == {newer.release: 1, RELEASE: 2}
    assert sorted(one.vm.release for one in frozen.spares(world.services)) == [
        RELEASE, RELEASE, newer.release
    ]  # fmt: skip


def test_the_disks_of_a_vm_whose_domain_is_lost_are_not_taken_for_leftovers(world):
    """They are layers on a spare's: nothing but their names says whose they are."""
    fill(world)
    make(world)
    world.write("dev1", "home/note", "mine")
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    del world.host.domains["dev1.devvm.test"]
    world.again()
    assert fill(world, 2).right
    boxes.verify(world.services, RELEASE, world.run("box verify"))
    assert not any(one.kind == "leftover" for one in doctor.examine(world.services).findings)
    trash.recover(world.services, "dev1", world.run("recover dev1"))
    assert world.read("dev1", "home/note") == "mine"
    destroy(world)
    assert (left(world), world.unused()) == ([], [])


@pytest.mark.parametrize("role", [ROOT, DATA, MEMORY])
def test_a_spare_that_lost_a_disk_is_not_used_and_doctor_replaces_it(world, role):
    fill(world)
    (spare,) = frozen.spares(world.services)
    del world.host.volumes[frozen.path_of(spare, role).name]
    make(world)
    assert "boot" in world.reporter.phases
    world.again()
    doctor.fix(world.services, world.run("doctor"))
    assert pool.look(world.services).right
    assert spare not in frozen.spares(world.services)
    assert doctor.examine(world.services).findings == ()


def test_without_room_none_is_made_and_it_is_said_why(world):
    world.host.free = 5 * GIB
    with pytest.raises(HostNotReadyError, match="no room for another spare"):
        fill(world)
    world.again()
    assert "should have 6 GiB free" in pool.look(world.services).failure
    (finding,) = doctor.examine(world.services).findings
    assert "1 of 1 spare VMs are missing; there is no room" in finding.problem
    world.host.free = 100 * GIB
    assert fill(world).failure == ""


def test_one_that_does_not_pass_is_not_kept(world):
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(DevvmError, match="the spare VM fails 1 of 1 checks"):
        fill(world)
    assert frozen.spares(world.services) == []
    assert (left(world), world.unused()) == ([], [])


def test_spares_that_nobody_wants_any_more_when_they_are_made_are_not_kept(world, monkeypatch):
    sizes.set_size(world.services, sizes.NEWEST, 2)
    check = world.verifier.check

    def changing(*args, **kwargs):
        sizes.set_size(world.services, sizes.NEWEST, 0)
        return check(*args, **kwargs)

    monkeypatch.setattr(world.verifier, "check", changing)
    assert pool.fill(world.services, world.run("pool fill")).spares == ()
    assert world.reporter.phases.count("save") == 1
    assert (left(world), world.unused()) == ([], [])


def test_two_do_not_fill_it_at_once(world):
    sizes.set_size(world.services, sizes.NEWEST, 1)
    with world.state.lock("spare-pool", "pool fill"):
        assert pool.look(world.services).filling
        assert doctor.examine(world.services).findings == ()
        with pytest.raises(LockedError):
            pool.fill(world.services, world.run("pool fill"))
    assert pool.look(world.services).failure == ""


def test_a_file_that_can_not_be_read_is_said_and_harms_no_create(world):
    (world.state.root / "pool.json").write_text("{")
    with pytest.raises(OperationError, match=r"pool\.json can't be read"):
        pool.look(world.services)
    (finding,) = doctor.examine(world.services).findings
    assert "pool.json can't be read" in finding.problem
    assert make(world).vm.metadata.ready
