"""rebuild and the VM's past: earlier states, snapshots, older VMs, killed attempts."""

from dataclasses import replace

import pytest

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import NotFoundError, OperationError, UsageError
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import Engineer, VmState
from devvm.operations.core import journal
from devvm.operations.storage import saved_states
from devvm.operations.vm import create, rebuild, snapshots, trash
from tests.support.world import ANN, RELEASE, Killed, World

NEWER, NEWEST = "2026.12.01-bbbbbbbbbbbb", "2026.12.02-cccccccccccc"
BOB = Engineer(login="bob", authorized_keys=("BOB",), git_name="Bob", git_email="bob@x.test")


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    for release in (NEWER, NEWEST):
        world.boxes.boxes.append(replace(world.box, release=release))
    world.write("dev1", "home/note", "mine")
    world.write("dev1", "etc/by-hand", "mine too", role=ROOT)
    return world


def do(world, release=NEWER):
    request = rebuild.RebuildRequest(name="dev1", engineer=BOB, release=release)
    return rebuild.rebuild(world.services, request, world.run("rebuild dev1"))


def killed(world, step):
    world.host.fail_at, world.host.failure = step, Killed()
    with pytest.raises(Killed):
        do(world)
    world.again()


def power_cut(world):
    """Cut the host's power, and that of its VMs."""
    for fqdn, domain in world.host.domains.items():
        world.host.domains[fqdn] = replace(domain, state=VmState.SHUTOFF, live=())
    check = world.verifier.check

    def reachable(target, **more):
        if world.vm(target.ssh_config.parent.name).state is not VmState.RUNNING:
            raise OperationError("no route to host")
        return check(target, **more)

    world.verifier.check = reachable


def test_the_old_root_and_the_data_as_they_were_are_in_the_trash(dev1):
    before = dev1.vm()
    result = do(dev1)
    dev1.write("dev1", "home/note", "changed since")
    (kept,) = trash.items(dev1.services, "dev1")
    assert kept.id == result.previous
    assert kept.label == f"before the rebuild to {NEWER}"
    assert (kept.disks, kept.vm) == (before.disks, before.metadata)
    assert not kept.destroyed
    assert dev1.host.read(before.data)["home/note"] == "mine"


def test_who_types_is_let_in_where_the_vm_is_from_before_that_was_noted(dev1):
    vm = dev1.vm()
    older = replace(vm.metadata, authorized_keys=(), git_name="", git_email="")
    dev1.services.domains.set_metadata(vm.uuid, older)
    metadata = do(dev1).vm.metadata
    assert (metadata.engineer, metadata.authorized_keys) == ("ann", ("BOB",))
    assert (metadata.git_name, metadata.git_email) == ("Bob", "bob@x.test")


def test_a_second_rebuild_keeps_the_first_one_s_past(dev1):
    do(dev1)
    dev1.write("dev1", "home/note", "second")
    do(dev1, NEWEST)
    states = trash.items(dev1.services, "dev1")
    assert len(states) == 2
    notes = {dev1.host.read(d.path).get("home/note") for k in states for d in k.disks} - {None}
    assert notes == {"mine", "second"}
    assert dev1.vm().metadata.generation == 3


def test_snapshots_live_through_it(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    dev1.write("dev1", "home/note", "changed since")
    do(dev1)
    snapshots.restore_snapshot(dev1.services, "dev1", "before", dev1.run("snapshot restore"))
    assert dev1.read("dev1", "home/note") == "mine"
    assert dev1.read("dev1", "etc/by-hand", ROOT) == "mine too"
    assert dev1.vm().metadata.release == RELEASE


def test_a_release_without_a_box_does_not_even_stop_it(dev1):
    before = dev1.vm()
    dev1.again()
    with pytest.raises(NotFoundError, match="no box"):
        do(dev1, "2026.12.01-dddddddddddd")
    assert dev1.vm() == before
    assert "shutdown_force" not in dev1.host.calls
    assert dev1.state.journal("dev1") is None


def test_what_a_killed_one_kept_is_found_by_its_token(dev1):
    killed(dev1, "verify")
    begun = dev1.state.journal("dev1")
    assert begun["operation"] == journal.REBUILD
    (kept,) = saved_states.of_vm(dev1.machine(), Purpose.PREVIOUS)
    assert kept.id == begun["token"]
    assert {disk.role for disk in kept.disks} == {ROOT, DATA}


def test_one_that_was_killed_at_its_end_does_not_stand_for_another_release(dev1):
    do_until_last_step(dev1)
    assert do(dev1, NEWEST).vm.metadata.release == NEWEST


def do_until_last_step(world):
    """Kill it after the checks passed: all that is left is to move the old state to the trash."""
    close = world.state.close_journal

    def kill(name):
        raise Killed

    world.state.close_journal = kill
    with pytest.raises(Killed):
        do(world)
    world.state.close_journal = close
    world.again()


def test_typed_again_after_the_host_went_down_the_vm_is_started(dev1):
    do_until_last_step(dev1)
    power_cut(dev1)
    assert do(dev1).report.passed
    assert dev1.vm().state is VmState.RUNNING
    assert dev1.vm().metadata.generation == 2


def test_so_is_one_that_create_had_finished(tmp_path):
    world = World(tmp_path)
    vm = world.create()
    world.state.open_journal("dev1", journal.CREATE, {"uuid": vm.uuid, "token": "0a"})
    power_cut(world)
    request = create.CreateRequest(name="dev1", engineer=ANN)
    result = create.create(world.services, request, world.run("create dev1"))
    assert result.report.passed
    assert result.vm.state is VmState.RUNNING


def test_an_older_database_never_meets_newer_data_even_where_the_newer_box_is_gone(dev1):
    do(dev1)
    dev1.boxes.boxes = [
        replace(dev1.box, release=NEWEST, packages={"mariadb-server": "1:10.6.1-1"})
    ]
    with pytest.raises(UsageError, match="can't go back"):
        do(dev1, NEWEST)
