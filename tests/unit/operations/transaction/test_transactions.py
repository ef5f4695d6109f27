"""Every operation, failed, interrupted and killed at every step, then run again.

A step is anything that changes something on the host. `tests/kill` does the same with real
processes and a real libvirt, at fewer points.
"""

import shutil

import pytest

from devvm.domain.errors import OperationError
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations import recovery
from devvm.operations.box import boxes
from devvm.operations.doctor import doctor
from devvm.operations.provision import gc
from devvm.operations.storage import saved_states
from devvm.operations.vm import clone, dumps, lifecycle, rebuild, resize, snapshots, trash
from tests.support.world import ANN, RELEASE, Killed, World

GIB = 1024**3


def do_rebuild(world):
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN, release=RELEASE)
    return rebuild.rebuild(world.services, request, world.run("rebuild dev1"))


def do_destroy(world):
    return trash.destroy(world.services, "dev1", world.run("destroy dev1"))


def do_purge(world):
    return trash.destroy(world.services, "dev1", world.run("destroy dev1"), purge=True)


def do_recover(world):
    return trash.recover(world.services, "dev1", world.run("recover dev1"))


def do_recover_item(world):
    return trash.recover(world.services, "dev1", world.run("recover dev1"), identifier=world.item)


def do_snapshot(world):
    return snapshots.create(world.services, "dev1", "now", world.run("snapshot create dev1"))


def do_snapshot_delete(world):
    return snapshots.delete(world.services, "dev1", "before", world.run("snapshot delete dev1"))


def do_empty(world):
    run = world.run("trash empty dev1")
    return trash.empty(world.services, trash.doomed(world.services, "dev1"), run)


def do_restore(world):
    run = world.run("snapshot restore dev1")
    return snapshots.restore_snapshot(world.services, "dev1", "before", run)


def do_clone(world):
    return clone.clone(world.services, "dev1", "dev2", world.run("clone dev1"))


def do_resize(world):
    return resize.resize(world.services, "dev1", 40, world.run("resize dev1"))


def do_import(world):
    dump = world.state.root / "dump.sql"
    dump.write_text("Ann Lee\nBob Roe\n")
    return dumps.import_from(world.services, "dev1", None, dump, world.run("db import dev1"))


def with_vm(world):
    world.create()
    world.write("dev1", "home/note", "mine")


def with_warm_box(world):
    with_vm(world)
    boxes.make_warm(world.services, RELEASE, world.run("box warm"))


def with_vm_off(world):
    with_vm(world)
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))


def with_trash(world):
    with_vm(world)
    do_destroy(world)


def with_snapshot(world):
    with_vm(world)
    snapshots.create(world.services, "dev1", "before", world.run("snapshot create dev1"))
    world.write("dev1", "home/note", "changed since")


def with_replaced(world):
    with_vm(world)
    do_rebuild(world)
    (kept,) = trash.items(world.services, "dev1")
    world.item = kept.id


def there(world, note="mine"):
    """The VM runs, has its data, and everything is in order."""
    vm = world.vm()
    assert vm.state is VmState.RUNNING
    assert vm.metadata.ready
    assert world.read("dev1", "home/note") == note
    in_order(world)


def in_order(world):
    assert world.unused() == []
    assert [n for n in world.state.names() if world.state.journal(n)] == []
    assert not [k for k in world.services.domains.saved_states() if k.purpose is Purpose.PREVIOUS]
    assert set(world.host.leases) == {vm.name for vm in world.services.domains.vms()}
    assert set(world.state.names()) == set(world.host.leases)


def rebuilt(world):
    there(world)
    assert world.vm().metadata.generation == 2
    assert len(trash.items(world.services, "dev1")) == 1


def destroyed(world):
    assert world.vm() is None
    (kept,) = trash.items(world.services, "dev1")
    assert kept.destroyed
    in_order(world)


def purged(world):
    assert world.remnants("dev1") == []
    in_order(world)


def recovered(world):
    there(world)
    assert trash.items(world.services, "dev1") == []


def back_before_the_rebuild(world):
    there(world)
    (kept,) = trash.items(world.services, "dev1")
    assert kept.label.startswith("before going back")


def snapped(world):
    there(world)
    names = [s.kept.label for s in snapshots.list_snapshots(world.services, "dev1")]
    assert names == ["now"]


def snapshot_deleted(world):
    there(world, note="changed since")
    assert world.services.domains.saved_states() == []


def emptied(world):
    if world.vm() is not None:
        there(world)
    assert world.services.domains.saved_states() == []
    in_order(world)


def restored(world):
    there(world)
    assert len(trash.items(world.services, "dev1")) == 1
    assert len(snapshots.list_snapshots(world.services, "dev1")) == 1


def cloned(world):
    there(world)
    assert world.read("dev2", "home/note") == "mine"
    assert world.vm("dev2").metadata.ready
    assert world.vm("dev2").metadata.host_key != world.vm("dev1").metadata.host_key
    assert saved_states.of_vm(world.machine(), Purpose.SNAPSHOT) == []


def resized(world):
    there(world)
    assert world.host.volumes[world.vm().data.name].size == 40 * GIB


def imported(world):
    there(world)
    assert world.shell.database == "Person 1\nBob Roe\n"
    assert len([*world.machine().folder.glob("*-before.sql.gz")]) == 1


OPERATIONS = {
    "rebuild": (with_vm, do_rebuild, rebuilt),
    "rebuild of one that is off": (with_vm_off, do_rebuild, rebuilt),
    "rebuild from a warm box": (with_warm_box, do_rebuild, rebuilt),
    "destroy": (with_vm, do_destroy, destroyed),
    "destroy --purge": (with_snapshot, do_purge, purged),
    "recover": (with_trash, do_recover, recovered),
    "recover --item": (with_replaced, do_recover_item, back_before_the_rebuild),
    "snapshot create": (with_vm, do_snapshot, snapped),
    "snapshot delete": (with_snapshot, do_snapshot_delete, snapshot_deleted),
    "trash empty": (with_replaced, do_empty, emptied),
    "trash empty of one that was destroyed": (with_trash, do_empty, emptied),
    "snapshot restore": (with_snapshot, do_restore, restored),
    "clone": (with_vm, do_clone, cloned),
    "resize": (with_vm, do_resize, resized),
    "db import": (with_vm, do_import, imported),
}
#: Operations that are complete after their last step but one: a failure after that is not undone.
FORWARD = {
    "destroy", "destroy --purge", "recover", "recover --item", "snapshot create",
    "snapshot delete", "snapshot restore", "resize", "trash empty",
    "trash empty of one that was destroyed",
}  # fmt: skip


#: Operations before or after which there is no VM.
GONE = {"destroy", "destroy --purge", "recover", "trash empty of one that was destroyed"}


@pytest.fixture(params=OPERATIONS)
def operation(request, tmp_path):
    """An operation that a test can run repeatedly, each time in a new world."""
    prepare, act, right = OPERATIONS[request.param]
    worlds = iter(range(1000))

    def begin():
        world = World(tmp_path / str(next(worlds)))
        prepare(world)
        world.again()
        return world

    return request.param, begin, act, right


def steps(begin, act):
    world = begin()
    act(world)
    return len(world.host.calls)


def test_it_does_what_it_says(operation):
    _, begin, act, right = operation
    world = begin()
    act(world)
    right(world)


def test_killed_at_every_step_and_typed_again(operation):
    _, begin, act, right = operation
    for number in range(1, steps(begin, act) + 1):
        world = begin()
        world.host.fail_number, world.host.failure = number, Killed()
        with pytest.raises(Killed):
            act(world)
        where = world.host.calls[-1]
        world.again()
        act_unless_done(world, act, right, where)
        right(world)


#: What operations have written to their journals since devvm 0.1, besides `operation` and
#: `started_at`. A journal may be from an older devvm, so no key may be required in addition, or
#: renamed.
WRITTEN_DOWN = {
    "create": {"command", "uuid", "token", "release"},
    "destroy": {"command", "purge", "token", "uuid"},
    "rebuild": {"command", "token", "was_running", "release"},
    "recover": {"command", "token", "kept"},
    "snapshot": {
        "command", "token", "label", "disks", "consistency", "temporary", "purpose"
    },
    "restore": {"command", "token", "was_running", "kept", "consume"},
    "clone": {"command", "uuid", "token", "source", "kept", "temporary"},
    "resize": {"command", "sizes"},
    "purge": {"command", "kept", "labels", "volumes"},
    "import": {"command", "token", "database"},
}  # fmt: skip


def test_a_journal_has_what_an_older_devvm_wrote(operation):
    _, begin, act, _ = operation
    for number in range(1, steps(begin, act) + 1):
        world = begin()
        world.host.fail_number, world.host.failure = number, Killed()
        with pytest.raises(Killed):
            act(world)
        for journal in filter(None, map(world.state.journal, world.state.names())):
            written = journal.keys() - {"operation", "started_at"}
            assert written == WRITTEN_DOWN[journal["operation"]]


def test_every_operation_that_a_journal_may_name_can_be_ended():
    assert recovery.ENDINGS.keys() == WRITTEN_DOWN.keys()


def act_unless_done(world, act, right, where):
    """Run it again; it may fail if everything had been done before the kill."""
    try:
        act(world)
    except OperationError:
        raise AssertionError(where) from None
    except Exception:
        if act is do_resize:
            raise
        right(world)


@pytest.mark.parametrize("failure", [OperationError("broken"), KeyboardInterrupt()])
def test_failed_at_every_step_it_leaves_nothing_half_done(operation, failure):
    name, begin, act, right = operation
    for number in range(1, steps(begin, act) + 1):
        world = begin()
        before = world.picture()
        world.host.fail_number, world.host.failure = number, failure
        try:
            act(world)
        except type(failure):
            pass
        else:  # it was a clean-up step, which is left for later
            gc.collect(world.machine(), world.run("later"))
            right(world)
            continue
        world.host.fail_number = 0
        after = world.picture()
        if _stable(after) != _stable(before):  # past the point of no return
            where = world.host.calls[number - 1 :]
            try:
                in_order(world)
                if name not in FORWARD and not (name == "clone" and world.vm("dev2") is None):
                    right(world)
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}") from None
            assert world.vm() is None or world.read("dev1", "home/note")


def _stable(picture):
    """The picture without what a start changes, and without records of runs."""
    return {part: value for part, value in picture.items() if part != "journals"}


def test_killed_and_then_another_command(operation):
    name, begin, act, _ = operation
    if name in GONE:
        return  # there is no VM before or after
    for number in range(1, steps(begin, act) + 1):
        world = begin()
        world.host.fail_number, world.host.failure = number, Killed()
        with pytest.raises(Killed):
            act(world)
        world.again()
        lifecycle.start(world.services, "dev1", world.run("start dev1"))
        assert world.read("dev1", "home/note") in {"mine", "changed since"}
        assert world.vm().state is VmState.RUNNING
        if world.state.journal("dev2") is None:  # a clone has its own journal
            in_order(world)


def test_killed_at_every_step_and_its_journal_lost(operation):
    """Only libvirt's state is left: doctor fixes it, and every command works again."""
    name, begin, act, _ = operation
    for number in range(1, steps(begin, act) + 1):
        world = begin()
        world.host.fail_number, world.host.failure = number, Killed()
        with pytest.raises(Killed):
            act(world)
        where = world.host.calls[-1]
        world.again()
        for folder in list(world.state.vms.iterdir()):
            shutil.rmtree(folder)
        doctor.fix(world.services, world.run("doctor"))
        left = [f for f in doctor.examine(world.services).findings if f.fix]
        assert left == [], (number, where)
        assert world.unused() == [], (number, where)
        if world.vm() is None:
            assert name in GONE, (number, where)
            assert world.host.leases == {}
            if name in {"destroy", "recover"}:
                do_recover(world)
        if world.vm() is not None:
            lifecycle.start(world.services, "dev1", world.run("start dev1"))
            assert world.read("dev1", "home/note") in {"mine", "changed since"}
            do_rebuild(world)
            do_destroy(world)
