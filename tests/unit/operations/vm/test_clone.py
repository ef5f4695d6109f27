"""clone: a second VM with the first one's data and its own identity."""

import base64
import io
import tarfile
from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import (
    ExistsError,
    HostNotReadyError,
    LockedError,
    NotFoundError,
    OperationError,
    UsageError,
)
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations.storage import saved_states
from devvm.operations.vm import clone, lifecycle, snapshots, trash
from tests.support.memory_host import HOST_KEY
from tests.support.world import World


class Shell:
    """Admits the keys that a guest would, and does what clone asks for."""

    def __init__(self, world):
        self.world, self.inner = world, world.shell

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def wait(self, target, *, timeout, detail):
        name = target.ssh_config.parent.name
        self.inner.wait(target, timeout=timeout, detail=detail)
        pinned = (self.world.state.vm(name) / "known_hosts").read_text().split(" ", 1)[1].strip()
        guest = self.world.host.guests[self.world.vm(name).uuid]
        assert guest.host_key == pinned

    def run(self, target, argv, *, stdin=None, **more):
        if stdin and "identity.new" in stdin:
            packed = stdin.split("<<'END'")[1].split("\n", 1)[1].split("\nEND\n")[0]
            with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
                for member in archive:
                    text = archive.extractfile(member).read().decode()
                    assert member.mode == 0o600
                    self.world.write(target.ssh_config.parent.name, f"identity/{member.name}", text)
        return self.inner.run(target, argv, stdin=stdin, **more)


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.services = replace(world.services, shell=Shell(world))
    world.write("dev1", "home/note", "mine")
    world.write("dev1", "etc/by-hand", "mine too", role=ROOT)
    return world


def do(world, name="dev2", source="dev1", **more):
    return clone.clone(world.services, source, name, world.run(f"clone {source}"), **more)


def test_it_has_the_data_and_an_identity_of_its_own(dev1):
    first = dev1.vm()
    result = do(dev1)
    second = result.vm
    assert result.report.passed
    assert result.url == "https://dev2.devvm.test/"
    assert second.metadata.ready
    assert second.state is VmState.RUNNING
    assert dev1.read("dev2", "home/note") == "mine"
    assert dev1.read("dev2", "etc/by-hand", ROOT) == "mine too"
    for part in ("name", "fqdn", "uuid", "mac", "lease"):
        assert getattr(first, part) != getattr(second, part)
    assert second.metadata.host_key != first.metadata.host_key
    assert dev1.read("dev2", HOST_KEY).startswith(second.metadata.host_key)
    assert dev1.read("dev2", HOST_KEY).strip().endswith("dev2.devvm.test")
    assert dev1.read("dev2", "identity/site.key") == "SITE KEY\n"
    assert (second.metadata.engineer, second.metadata.generation) == ("ann", 1)
    assert second.lease.mac == second.mac


def test_the_first_one_runs_on_and_neither_sees_what_the_other_writes(dev1):
    first = dev1.vm()
    do(dev1)
    now = dev1.vm()
    assert "shutdown_force" not in dev1.host.calls[: dev1.host.calls.index("start")]
    assert (now.state, now.uuid, now.metadata, now.mac) == (
        VmState.RUNNING, first.uuid, first.metadata, first.mac,
    )  # fmt: skip
    dev1.write("dev1", "home/note", "of the first")
    dev1.write("dev2", "home/note", "of the second")
    assert dev1.read("dev1", "home/note") == "of the first"
    assert dev1.read("dev1", HOST_KEY).startswith(first.metadata.host_key)
    assert {d.path for d in now.disks}.isdisjoint(d.path for d in dev1.vm("dev2").disks)


def test_nothing_is_left_of_how_it_was_made(dev1):
    do(dev1)
    assert saved_states.of_vm(dev1.machine(), Purpose.SNAPSHOT) == []
    assert dev1.services.domains.saved_states() == []
    assert dev1.unused() == []
    assert [dev1.state.journal(name) for name in ("dev1", "dev2")] == [None, None]
    for path in dev1.state.root.rglob("*"):
        if path.is_file():
            assert "SITE KEY" not in path.read_text()


def test_of_a_snapshot_which_stays(dev1):
    snapshots.create(dev1.services, "dev1", "before", dev1.run("snapshot create dev1"))
    dev1.write("dev1", "home/note", "changed since")
    disks = dev1.vm().disks
    do(dev1, snapshot="before")
    assert dev1.read("dev2", "home/note") == "mine"
    assert dev1.vm().disks == disks
    assert [s.kept.label for s in snapshots.list_snapshots(dev1.services, "dev1")] == ["before"]


def test_of_a_vm_that_is_off_which_stays_off(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    assert do(dev1).vm.state is VmState.RUNNING
    assert dev1.vm().state is VmState.SHUTOFF


def test_a_clone_of_a_clone_and_each_lives_without_the_others(dev1):
    do(dev1)
    do(dev1, name="dev3", source="dev2")
    for name in ("dev1", "dev2"):
        trash.destroy(dev1.services, name, dev1.run(f"destroy {name}"), purge=True)
    assert dev1.read("dev3", "home/note") == "mine"
    assert [vm.name for vm in dev1.services.domains.vms()] == ["dev3"]
    lifecycle.restart(dev1.services, "dev3", dev1.run("restart dev3"))


def test_a_clone_that_does_not_pass_is_kept_and_said(dev1):
    dev1.verifier.outcome = Outcome.FAILED
    result = do(dev1)
    assert not result.report.passed
    assert result.vm.metadata.ready


@pytest.mark.parametrize("step", ["layer", "split_disks", "define_vm", "wait", "reserve_lease"])
def test_a_failure_leaves_the_first_one_with_its_data_and_no_second(dev1, step):
    dev1.host.fail_at, dev1.host.failure = step, OperationError("broken")
    with pytest.raises(OperationError, match="broken"):
        do(dev1)
    assert dev1.remnants("dev2") == []
    assert dev1.services.domains.saved_states() == []
    assert dev1.read("dev1", "home/note") == "mine"
    assert dev1.vm().state is VmState.RUNNING
    dev1.again()
    do(dev1)
    assert dev1.unused() == []


def test_names_are_judged_first(dev1):
    with pytest.raises(UsageError):
        do(dev1, name="Dev 2")
    with pytest.raises(UsageError, match="clone of itself") as caught:
        do(dev1, name="dev1")
    assert caught.value.resolution == "devvm clone dev1 --as dev1-2"
    assert dev1.host.calls == []


def test_what_is_there_is_left_alone(dev1):
    do(dev1)
    before = dev1.picture()
    with pytest.raises(ExistsError):
        do(dev1)
    assert dev1.picture() == before


def test_there_is_no_such_vm_snapshot_or_memory(dev1):
    before = dev1.picture()
    with pytest.raises(NotFoundError):
        do(dev1, source="dev9")
    with pytest.raises(NotFoundError, match="no snapshot"):
        do(dev1, snapshot="before")
    dev1.host.memory = (4096, 1024)
    with pytest.raises(HostNotReadyError, match="memory"):
        do(dev1)
    assert dev1.picture() == before


def test_neither_vm_is_changed_by_somebody_else_meanwhile(dev1):
    for name in ("dev1", "dev2"):
        with dev1.state.lock(name, "another"), pytest.raises(LockedError):
            do(dev1)
    assert dev1.state.names() == ["dev1"]


def test_extra_disks_come_along(tmp_path):
    from devvm.config import ExtraDiskConfig

    world = World(tmp_path)
    world.services = world.configured(extra_disks=(ExtraDiskConfig(name="scratch", size_gib=3),))
    world.create()
    world.services = replace(world.services, shell=Shell(world))
    world.write("dev1", "x", "y", role="scratch")
    do(world)
    assert world.read("dev2", "x", "scratch") == "y"
    assert [disk.role for disk in world.vm("dev2").disks] == [ROOT, DATA, "scratch"]


@pytest.mark.parametrize("snapshot", [None, "s1"])
def test_what_is_wanted_of_a_vm_is_not_wanted_of_its_clone(dev1, snapshot):
    wanted = replace(
        dev1.vm().metadata, pinned_until="2026-12-01", pinned_by="jane", pin_reason="demo",
        update_to="2026.12.01-1a2b3c4d5e6f", update_by="rollout", restore_point="0a1b2c3d",
    )  # fmt: skip
    dev1.services.domains.set_metadata(dev1.vm().uuid, wanted)
    if snapshot:
        snapshots.create(dev1.services, "dev1", snapshot, dev1.run("snapshot create dev1"))
    clone.clone(dev1.services, "dev1", "dev2", dev1.run("clone dev1"), snapshot=snapshot)
    facts = dev1.vm("dev2").metadata
    assert facts.ready
    assert {facts.pinned_until, facts.pinned_by, facts.pin_reason} == {""}
    assert {facts.update_to, facts.update_by, facts.restore_point} == {""}
    assert dev1.vm("dev1").metadata == wanted
