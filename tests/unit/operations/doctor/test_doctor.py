"""doctor: finds, reports and fixes what happened behind devvm's back."""

import shutil
from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.domain.vm import Lease, VmState
from devvm.operations.doctor import doctor
from devvm.operations.vm import lifecycle, rebuild, snapshots, trash
from tests.support.memory_host import Layer
from tests.support.world import ANN, POOL, RELEASE, Killed, World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.create()
    made.write("dev1", "home/note", "mine")
    return made


def found(world):
    return [(f.kind, f.subject) for f in doctor.examine(world.services).findings]


def fix(world):
    treated = doctor.fix(world.services, world.run("doctor"))
    return {(t.finding.kind, t.finding.subject): t for t in treated}


def fixed(world, kind, subject="dev1"):
    """The problem is found, looking changes nothing, `--fix` fixes it, and the data is kept."""
    before = world.picture()
    assert (kind, subject) in found(world)
    assert world.picture() == before
    assert fix(world)[kind, subject].fixed
    assert found(world) == []


def test_a_healthy_host(world):
    assert found(world) == []
    assert fix(world) == {}


def test_an_operation_that_was_killed(world):
    world.host.fail_at, world.host.failure = "personalise", Killed()
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN, release=RELEASE)
    with pytest.raises(Killed):
        rebuild.rebuild(world.services, request, world.run("rebuild dev1"))
    world.again()
    fixed(world, "unfinished")
    assert world.vm().metadata.generation == 1


def test_a_rebuild_that_was_killed_and_its_journal_lost_with_the_state_folder(world):
    world.host.fail_at, world.host.failure = "personalise", Killed()
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN, release=RELEASE)
    with pytest.raises(Killed):
        rebuild.rebuild(world.services, request, world.run("rebuild dev1"))
    world.again()
    shutil.rmtree(world.state.vm("dev1"))
    assert ("unfinished", "dev1") in found(world)
    fix(world)
    assert found(world) == []
    assert world.vm().metadata.generation == 1
    assert world.read("dev1", "home/note") == "mine"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"operation": "rebuild"}'])
def test_a_rebuild_that_was_killed_and_its_journal_is_damaged(world, content):
    world.host.fail_at, world.host.failure = "personalise", Killed()
    request = rebuild.RebuildRequest(name="dev1", engineer=ANN, release=RELEASE)
    with pytest.raises(Killed):
        rebuild.rebuild(world.services, request, world.run("rebuild dev1"))
    world.again()
    world.create("dev2")
    journal = world.state.vm("dev1") / "journal.json"
    journal.write_text(content)
    with pytest.raises(OperationError) as caught:
        lifecycle.start(world.services, "dev1", world.run("start dev1"))
    assert caught.value.resolution == "devvm doctor --fix"
    assert found(world) == [("journal", "dev1")]
    assert fix(world)["journal", "dev1"].fixed
    assert found(world) == []
    assert journal.with_suffix(".damaged").read_text() == content
    assert world.vm().metadata.generation == 1
    assert world.read("dev1", "home/note") == "mine"


def test_a_vm_that_its_create_kept_for_a_look(world):
    world.host.fail_at, world.host.failure = "verify", OperationError("broken")
    with pytest.raises(OperationError):
        world.create("dev2", keep=True)
    world.again()
    (finding,) = doctor.examine(world.services).findings
    assert (finding.kind, finding.subject, finding.fix) == ("unready", "dev2", None)
    assert "devvm destroy dev2" in finding.advice


def test_somebody_at_work_is_left_at_it(world):
    with world.state.lock("dev1", "rebuild dev1"):
        shutil.rmtree(world.state.vm("dev1"))
        diagnosis = doctor.examine(world.services)
    assert diagnosis.findings == ()
    assert [held.name for held in diagnosis.busy] == ["dev1"]
    assert "rebuild dev1" in diagnosis.busy[0].holder


def test_a_lost_folder(world):
    known = (world.state.vm("dev1") / "known_hosts").read_text()
    shutil.rmtree(world.state.vm("dev1"))
    fixed(world, "files")
    assert (world.state.vm("dev1") / "known_hosts").read_text() == known
    guest = world.host.guests[world.vm().uuid]
    assert guest.admitted == {"ecdsa-sha2-nistp256 AAAA devvm dev1"}
    lifecycle.restart(world.services, "dev1", world.run("restart dev1"))


def test_a_lost_folder_of_a_vm_whose_agent_is_silent(world):
    world.host.agent = False
    shutil.rmtree(world.state.vm("dev1"))
    assert ("files", "dev1") in found(world)
    fix(world)
    assert any("at its next start" in note for note in world.reporter.notes)


def test_lost_vagrant_files(world):
    shutil.rmtree(world.state.vm("dev1") / ".vagrant")
    fixed(world, "files")
    identifier = world.state.vm("dev1") / ".vagrant/machines/dev1.devvm.test/libvirt/id"
    assert identifier.read_text() == world.vm().uuid


def test_a_deleted_domain(world):
    vm = world.vm()
    del world.host.domains["dev1.devvm.test"]
    fixed(world, "domain")
    assert world.vm().uuid == vm.uuid
    assert world.read("dev1", "home/note") == "mine"


@pytest.mark.parametrize("running", [True, False])
def test_a_renamed_domain(world, running):
    if not running:
        lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    domain = world.host.domains.pop("dev1.devvm.test")
    world.host.domains["other"] = replace(domain, name="other")
    fixed(world, "renamed")
    assert world.vm().state is (VmState.RUNNING if running else VmState.SHUTOFF)


def test_a_copy_of_a_domain_is_left_alone(world):
    domain = world.host.domains["dev1.devvm.test"]
    world.host.volumes["copy.img"] = Layer()
    disk = replace(domain.disks[0], path=POOL / "copy.img")
    world.host.domains["copy"] = replace(
        domain, name="copy", uuid="copied", disks=(disk,), live=(), state=VmState.SHUTOFF
    )
    treated = fix(world)["copy", "dev1"]
    assert not treated.fixed
    assert "virsh metadata copy --remove" in treated.finding.advice
    assert "copy" in world.host.domains


def test_lost_facts(world):
    facts = world.vm().metadata
    domain = world.host.domains["dev1.devvm.test"]
    saved = world.state.vm("dev1") / "domain.xml"
    # as libvirt writes them; the host in memory has its own format
    saved.write_text(f"{saved.read_text()}<uuid>{domain.uuid}</uuid>")
    world.host.domains["dev1.devvm.test"] = replace(domain, facts=None)
    assert ("facts", "dev1") in found(world)
    assert fix(world)["facts", "dev1"].fixed
    assert world.vm().metadata.name == facts.name


def test_a_foreign_domain_of_a_name_is_said_and_left_alone(world):
    world.foreign("dev2.devvm.test", "foreign.img")
    treated = fix(world)["stranger", "dev2"]
    assert not treated.fixed
    assert "virsh dominfo dev2.devvm.test" in treated.finding.advice


def test_the_domain_of_a_create_that_was_killed_is_devvm_s_own(world):
    world.host.fail_at, world.host.failure = "boot", Killed()
    with pytest.raises(Killed):
        world.create("dev2")
    world.again()
    assert world.host.domains["dev2.devvm.test"].facts is None  # as Vagrant defined it
    assert found(world) == [("unfinished", "dev2")]
    with world.state.lock("dev2", "create dev2"):
        assert found(world) == []
    assert fix(world)["unfinished", "dev2"].fixed
    assert found(world) == world.remnants("dev2") == []


def test_a_foreign_domain_that_took_the_name_of_a_killed_create(world):
    world.host.fail_at, world.host.failure = "define", Killed()
    with pytest.raises(Killed):
        world.create("dev2")
    world.again()
    world.foreign("dev2.devvm.test", "foreign.img")
    assert found(world) == [("unfinished", "dev2"), ("stranger", "dev2")]


def test_orphaned_volumes_go_to_the_trash_and_are_not_deleted(world):
    names = ("dev1.devvm.test-data.12345678.qcow2", "dev7.devvm.test-data.12345678.qcow2")
    for name in names:
        world.host.volumes[name] = Layer(files={"x": "y"})
    fixed(world, "orphans", "dev7")
    assert set(names) <= set(world.host.volumes)
    kept = {item.vm.name: item for item in trash.items(world.services)}
    assert set(kept) == {"dev1", "dev7"}
    assert not kept["dev7"].whole


def lose(world):
    """Remove dev1's domain and folder at once."""
    del world.host.domains["dev1.devvm.test"]
    shutil.rmtree(world.state.vm("dev1"))


def test_domain_and_folder_lost_of_a_vm_with_a_snapshot(world):
    uuid = world.vm().uuid
    snapshots.create(world.services, "dev1", "before", world.run("snapshot create dev1"))
    world.write("dev1", "home/note", "later")
    lose(world)
    fixed(world, "orphans")
    trash.recover(world.services, "dev1", world.run("recover dev1"))
    assert world.vm().uuid == uuid
    assert world.read("dev1", "home/note") == "later"
    assert [s.kept.label for s in snapshots.list_snapshots(world.services, "dev1")] == ["before"]
    assert found(world) == []


def test_domain_and_folder_lost_of_a_vm_without_one(world):
    lose(world)
    fixed(world, "orphans")
    with pytest.raises(UsageError, match="only disks"):
        trash.recover(world.services, "dev1", world.run("recover dev1"))
    world.create()  # the name is free


def test_an_earlier_vm_of_the_name_is_another_one(world):
    trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    (earlier,) = trash.items(world.services)
    world.create()
    lose(world)
    fixed(world, "orphans")
    assert [k.uuid for k in trash.items(world.services)] == [earlier.uuid, ""]


def test_a_snapshot_of_a_vm_of_which_all_else_is_gone(world):
    snapshots.create(world.services, "dev1", "before", world.run("snapshot create dev1"))
    top = world.vm().disks
    lose(world)
    for disk in top:
        del world.host.volumes[disk.path.name]
    world.host.leases.clear()
    fixed(world, "stray-snapshot")
    trash.recover(world.services, "dev1", world.run("recover dev1"))
    assert world.read("dev1", "home/note") == "mine"
    assert found(world) == []


def test_snapshots_of_a_vm_whose_domain_was_deleted_wait_for_it(world):
    snapshots.create(world.services, "dev1", "before", world.run("snapshot create dev1"))
    del world.host.domains["dev1.devvm.test"]
    assert ("stray-snapshot", "dev1") not in found(world)
    fixed(world, "domain")
    assert len(snapshots.list_snapshots(world.services, "dev1")) == 1


def test_leases(world):
    world.host.leases["dev9"] = Lease(mac="m", address="10.1.2.200", fqdn="dev9.devvm.test")
    fixed(world, "stale-lease", "dev9")
    assert "dev9" not in world.host.leases
    lease = world.host.leases.pop("dev1")
    fixed(world, "lease")
    assert world.host.leases["dev1"].mac == lease.mac


def test_an_empty_folder(world):
    (world.state.vms / "dev8").mkdir()
    fixed(world, "folder", "dev8")


def test_boxes_images(world):
    image = f"box-{RELEASE}.img"
    world.host.volumes[image].sha256 = "flipped"
    fixed(world, "box-image", RELEASE)
    assert world.host.volumes[image].sha256 == world.box.image_sha256
    world.boxes.damaged[RELEASE] = "a flipped byte"
    treated = fix(world)["box", RELEASE]
    assert not treated.fixed
    assert "box build --force" in treated.finding.advice


def test_a_box_image_that_is_gone_and_the_box_with_it(world):
    world.boxes.boxes.clear()
    world.host.volumes.pop(f"box-{RELEASE}.img")
    treated = fix(world)["box-image", "dev1"]
    assert not treated.fixed
    assert treated.finding.advice == "devvm rebuild dev1"


def test_a_disk_of_another_domain_s_vm_whose_image_is_gone(world):
    name = "dev1.devvm.testing-root.1.qcow2"
    world.host.volumes[name] = Layer(below=POOL / "gone.img")
    (finding,) = doctor.examine(world.services).findings
    assert (finding.kind, finding.subject, finding.advice) == ("box-image", name, "")


def test_disks_that_are_gone(world):
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    del world.host.volumes[world.vm().root.name]
    (finding,) = doctor.examine(world.services).findings
    assert (finding.kind, "devvm rebuild dev1" in finding.advice) == ("disk", True)
    del world.host.volumes[world.vm().data.name]
    problems = [f.problem for f in doctor.examine(world.services).findings]
    assert any("its data disk is gone" in problem for problem in problems)


def test_a_kept_state_whose_disks_are_gone(world):
    trash.destroy(world.services, "dev1", world.run("destroy dev1"))
    (item,) = trash.items(world.services)
    del world.host.volumes[item.disks[1].path.name]
    (finding,) = doctor.examine(world.services).findings
    assert finding.advice == f"devvm trash empty {item.id}"


def test_a_paused_vm_and_a_full_pool(world):
    domain = world.host.domains["dev1.devvm.test"]
    world.host.domains["dev1.devvm.test"] = replace(domain, state=VmState.PAUSED)
    world.host.free = 0
    assert found(world) == [("paused", "dev1"), ("pool", "devvm")]


def test_snapshots_are_in_order(world):
    snapshots.create(world.services, "dev1", "x", world.run("snapshot create dev1"))
    assert found(world) == []
