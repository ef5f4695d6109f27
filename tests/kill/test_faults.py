"""Full disk, two commands at once, a changed byte: one clear error, and nothing half done."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import libvirt
import pytest

from devvm.adapters.image.box_store import FolderBoxStore
from tests.kill.kill_host import RELEASE, await_that, call, corner, sha256
from tests.kill.kill_scenarios import RUNS, Scenarios
from tests.kill.kill_states import Expected, problems
from tests.kill.worker import fill

pytestmark = pytest.mark.kill

#: The number of the corner with little space; the others have lower ones.
SMALL = 7
FULL = os.environ.get("DEVVM_KILL_FULL") == "1"


@pytest.fixture(scope="module")
def small(corners, tmp_path_factory):
    """A corner whose pool is on a small file system, and that file system."""
    scratch = tmp_path_factory.mktemp("small")
    place = corner(SMALL, scratch).pool  # accessible for QEMU's user
    place.mkdir(parents=True, exist_ok=True)
    disk = scratch / "disk"
    disk.touch()
    os.truncate(disk, 3 * 1024**3)  # what a VM must find free, plus a little; hardly any is used
    call("mke2fs", "-q", "-t", "ext4", "-m", "0", disk)
    call("mount", "-o", "loop", disk, place)
    host = corner(SMALL, scratch, pool_path=str(place / "pool"))
    host.libvirt.volumes.ensure()
    host.libvirt.network.ensure()
    host.make_box()
    return host, Scenarios(host, SMALL), place


@pytest.mark.parametrize("operation", ["create", "rebuild", "snapshot-create"])
def test_the_pool_is_full(operation, small, tried):
    """From some moment on no byte is free: the operation succeeds, or is undone with a message."""
    host, scenarios, place = small
    scenario = scenarios.named(operation)
    host.restore(scenario.baseline)
    passed, done = host.boundaries(*scenario.argv)
    assert done.code == 0, done.output
    first = {entry["changes"]: number for number, entry in reversed(list(enumerate(passed)))}
    points, failures, refused = sorted(first.values())[:: 1 if FULL else 3], [], 0
    start = time.monotonic()
    for point in points:
        host.restore(scenario.baseline)
        done = host.run(*scenario.argv, fill_at=point, fill=place)
        (place / "filler").unlink(missing_ok=True)
        wrong = _all_or_nothing(host, scenarios, scenario, done)
        refused += done.code != 0
        if wrong:
            failures.append(f"{passed[point]['boundary']}: {'; '.join(wrong)}")
    states, seconds = len(first), round(time.monotonic() - start)
    survived = len(points) - len(failures)
    tried.append((f"{operation}, pool full", len(passed), states, len(points), survived, seconds))
    assert not failures, "\n".join(failures)
    assert refused


def test_room_is_made_where_there_is_none(small):
    """There isn't even space for a journal: pool and state folder share one file system."""
    host, scenarios, place = small
    host.restore(scenarios.nothing)
    assert host.run("create", scenarios.name).code == 0
    assert host.run("snapshot-create", scenarios.name, "one").code == 0
    assert host.run("rebuild", scenarios.name).code == 0
    vms, beside = host.state.vms, host.scratch / "vms"
    vms.rename(beside)
    vms.symlink_to(shutil.copytree(beside, place / "vms"))
    try:
        fill(place)
        refused = host.run("resize", scenarios.name, "2")
        assert refused.code == 1, refused.output
        assert "can't be written" in refused.error["brief"]
        assert "devvm trash list" in refused.error["resolution"]
        for command in (
            ("snapshot-delete", scenarios.name, "one"),
            ("trash-empty", scenarios.name),
        ):
            done = host.run(*command)
            assert done.code == 0, done.output
        assert host.kept() == []
        assert host.libvirt.volumes.unused() == []
    finally:
        vms.unlink()
        beside.rename(vms)


def _all_or_nothing(host, scenarios, scenario, done):
    unfinished = "Undoing failed too" in done.output  # not even enough space to undo it
    if unfinished and _clear(done):
        done = host.run(*scenario.argv)
        if done.code:
            return [f"typed again, with room: {done.output}"]
    if done.code == 0:
        return problems(host, scenario.after, scenarios.goldens, scenario.baseline)
    found = problems(host, scenario.before, scenarios.goldens, scenario.baseline)
    return found + ([] if _clear(done) else [done.output])


def _clear(done):
    """Whether the error says what happened, and why or what to do."""
    error = done.error
    return bool(error and error["brief"] and (error["details"] or error["resolution"]))


def test_a_second_create_is_told_who_is_at_it(host, scenarios):
    reached, go, name = host.scratch / "reached", host.scratch / "go", scenarios.name
    for file in (reached, go):
        file.unlink(missing_ok=True)
    first = host.start("create", name, hold_at=20, reached=reached, go=go)
    await_that(reached.exists, "the first create is on its way")
    second = host.run("create", name)
    go.touch()
    assert second.code == 5, second.output
    details = second.error["details"]
    for part in ("root", "since 20", f"create {name}", str(first.pid)):
        assert part in details
    done = first.finish()
    assert done.code == 0, done.output
    expected = Expected({name: (RUNS, 1)})
    assert not problems(host, expected, scenarios.goldens)


def test_two_creates_at_the_same_moment(host, scenarios):
    name = scenarios.name
    both = [command.finish() for command in [host.start("create", name) for _ in range(2)]]
    codes = sorted(done.code for done in both)
    assert codes in ([0, 5], [0, 2]), [done.output for done in both]
    assert not problems(host, Expected({name: (RUNS, 1)}), scenarios.goldens)


def test_five_creates_at_once(host, scenarios):
    """All succeed, all have different addresses, and the box is copied once."""
    names = [f"{scenarios.name}-{number}" for number in range(5)]
    all_done = [command.finish() for command in [host.start("create", name) for name in names]]
    assert [done.code for done in all_done] == [0] * 5, [done.output for done in all_done]
    expected = Expected(dict.fromkeys(names, (RUNS, 1)))
    assert not problems(host, expected, scenarios.goldens)
    vms = host.vms()
    assert len({vm.mac for vm in vms}) == 5
    assert len({vm.lease.address for vm in vms}) == 5
    size = host.make_box().size_bytes // 1024**2
    copies = sum(done.output.count(f"copying the disk image: 0 of {size} MiB") for done in all_done)
    assert copies == 1


def test_qemu_dies_after_layers_were_merged(host, scenarios):
    """Merged data is on the disk before the layers that it came from are deleted."""
    scenario = scenarios.snapshot_delete()
    host.restore(scenario.baseline)
    done = host.run(*scenario.argv)
    assert done.code == 0, done.output
    (domain,) = host.domains()
    os.kill(int(Path(f"/run/libvirt/qemu/{domain}.pid").read_text()), signal.SIGKILL)
    assert scenarios.goldens.differs("now data", host.vms()[0].data) is None


@pytest.mark.parametrize("operation", ["snapshot-create", "snapshot-restore", "rebuild", "resize"])
def test_a_merge_that_was_killed_when_all_but_its_end_was_done(operation, host, scenarios):
    """libvirt keeps copying into the lower layer for ever; that doesn't affect the next command."""
    scenario = scenarios.named(operation)
    host.restore(scenario.baseline)
    (vm,) = host.vms()
    assert host.run("snapshot-create", scenarios.name, "loose").code == 0
    (loose,) = (kept for kept in host.kept() if kept.label == "loose")
    host.connection().lookupByName(f"{vm.fqdn}@{loose.id}").undefine()
    domain = host.connection().lookupByName(vm.fqdn)
    commit = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
    domain.blockCommit("vdb", str(vm.data), None, 0, commit)
    await_that(lambda: "ready='yes'" in domain.XMLDesc(), "the copy is as the disk")
    done = host.run(*scenario.argv)
    assert done.code == 0, done.output
    name, now = scenarios.name, "now data" if operation != "snapshot-restore" else "one data"
    assert scenarios.goldens.differs(now, host.vms()[0].data) is None
    assert host.run("destroy", name).code == 0


@pytest.mark.parametrize("operation", ["create", "rebuild"])
def test_a_wrong_byte_in_the_box_s_image(operation, host, scenarios):
    """The next VM doesn't use it: the image is written again, below the VMs based on it."""
    host.restore(scenarios.vm)
    image = next(p for name, p in host.files().items() if "_vagrant_box_image_" in name)
    good = sha256(image)
    _flip(image)
    name = scenarios.name
    done = host.run(operation, f"{name}-2" if operation == "create" else name)
    assert done.code == 0, done.output
    assert "is damaged; writing it again" in done.output
    assert sha256(image) == good
    state = scenarios.is_rebuilt if operation == "rebuild" else scenarios.is_vm
    if operation == "create":
        vms = {**state.vms, f"{name}-2": (RUNS, 1)}
        state = Expected(vms, state.kept, state.contents)
    assert not problems(host, state, scenarios.goldens)


def test_a_wrong_byte_in_vagrant_s_copy(host, scenarios):
    host.restore(scenarios.nothing)
    assert host.run("create", scenarios.name).code == 0
    image = next(p for name, p in host.files().items() if "_vagrant_box_image_" in name)
    good, copy = sha256(image), host.vagrant_home / RELEASE / "box.img"
    host.clear_domains()
    for path in host.files().values():
        path.unlink()
    host.restore(scenarios.nothing)
    host.run("create", scenarios.name, kill_at=_after(host, scenarios, "vagrant.add_box"))
    _flip(copy)
    done = host.run("create", scenarios.name)
    assert done.code == 0, done.output
    assert "adding it again" in done.output
    assert sha256(image) == sha256(copy) == good
    assert not problems(host, Expected({scenarios.name: (RUNS, 1)}), scenarios.goldens)


def test_a_wrong_byte_in_the_box(host, scenarios):
    box = FolderBoxStore(host.state).find(RELEASE)
    kept = box.path.read_bytes()
    _flip(box.path)
    try:
        done = host.run("create", scenarios.name)
    finally:
        box.path.write_bytes(kept)
    assert done.code == 1, done.output
    assert "is damaged" in done.error["brief"]
    assert "devvm box build" in done.error["resolution"]
    assert not problems(host, scenarios.is_nothing, scenarios.goldens)


def _after(host, scenarios, call):
    """The boundary after the first such call of a create."""
    file = host.scratch / "boundaries.json"
    host.run("create", scenarios.name, boundaries=file)
    host.restore(scenarios.nothing)
    names = [entry["boundary"] for entry in json.loads(file.read_text())]
    return names.index(f"after {call}")


def _flip(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
