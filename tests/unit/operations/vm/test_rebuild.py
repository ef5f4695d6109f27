"""rebuild: a new root with the old data; the old VM is restored unless the new one passes."""

from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import HostNotReadyError, NotFoundError, ParityError, UsageError
from devvm.domain.vm import VmState
from devvm.operations.vm import lifecycle, rebuild, trash
from tests.support.world import ANN, GIB, RELEASE, World

NEWER = "2026.12.01-aaaaaaaaaaaa"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.create()
    made.write("dev1", "home/note", "mine")
    made.write("dev1", "etc/broken", "yes", role=ROOT)
    return made


def do(world, release=RELEASE, engineer=ANN):
    request = rebuild.RebuildRequest(name="dev1", engineer=engineer, release=release)
    return rebuild.rebuild(world.services, request, world.run("rebuild dev1"))


def test_a_new_root_and_everything_that_a_person_would_miss(world):
    before = world.vm()
    known = (world.state.vm("dev1") / "known_hosts").read_text()
    result = do(world)
    after = result.vm
    assert world.read("dev1", "home/note") == "mine"
    assert world.read("dev1", "etc/broken", role=ROOT) is None
    assert (after.uuid, after.mac, after.lease) == (before.uuid, before.mac, before.lease)
    assert after.metadata.generation == 2
    assert after.metadata.ready
    assert (world.state.vm("dev1") / "known_hosts").read_text() == known
    (kept,) = trash.items(world.services)
    assert kept.id == result.previous
    assert {disk.path for disk in kept.disks} == {disk.path for disk in before.disks}
    assert world.reporter.phases == [
        "check", "stop", "disks", "network", "boot", "personalise", "verify"
    ]  # fmt: skip


def test_the_keys_are_those_that_create_was_given_whoever_rebuilds(world):
    do(world, engineer=replace(ANN, login="root", authorized_keys=("ssh-ed25519 ROOT",)))
    variables = world.provisioner.variables
    assert variables["engineer_login"] == "ann"
    assert "ssh-ed25519 ANN" in variables["engineer_authorized_keys"]
    assert "ssh-ed25519 ROOT" not in variables["engineer_authorized_keys"]


def test_the_root_is_as_large_as_the_old_one_was(world):
    world.host.volumes[world.vm().root.name].size = 40 * GIB
    do(world)
    assert world.host.volumes[world.vm().root.name].size == 40 * GIB


def test_a_release_that_does_not_pass_brings_the_old_vm_back(world):
    before = world.picture()
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(ParityError, match="as it was before") as caught:
        do(world)
    assert "unit/nginx.service" in caught.value.details
    assert world.picture() == before
    assert world.read("dev1", "etc/broken", role=ROOT) == "yes"


def test_what_the_new_root_did_to_the_data_is_undone_with_it(world):
    def upgrade(*args, **kwargs):
        world.write("dev1", "mysql/version", "newer")
        raise KeyboardInterrupt

    world.services.verifier.check = upgrade
    with pytest.raises(KeyboardInterrupt):
        do(world)
    assert world.read("dev1", "mysql/version") is None
    assert world.vm().state is VmState.RUNNING


def test_a_vm_that_was_off_is_off_again(world):
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(ParityError):
        do(world)
    assert world.vm().state is VmState.SHUTOFF


@pytest.mark.parametrize(("version", "refused"), [("1:10.6.1-1", True), ("1:10.11.2-1", False)])
def test_an_older_database_never_gets_the_files_of_a_newer_one(world, version, refused):
    older = replace(world.box, release=NEWER, packages={"mariadb-server": version})
    world.boxes.boxes.append(older)
    before = world.picture()
    if refused:
        with pytest.raises(UsageError, match="can't go back") as caught:
            do(world, release=NEWER)
        assert "10.11" in caught.value.details
        assert "10.6" in caught.value.details
        assert "devvm trash show dev1" in caught.value.resolution
        assert world.picture() == before
    else:
        assert do(world, release=NEWER).vm.metadata.release == NEWER


def test_no_vm_no_box_no_space(world):
    request = rebuild.RebuildRequest(name="dev9", engineer=ANN)
    with pytest.raises(NotFoundError):
        rebuild.rebuild(world.services, request, world.run("rebuild dev9"))
    with pytest.raises(NotFoundError, match="no box of"):
        do(world, release=NEWER)
    world.host.free = 1 * GIB
    before = world.picture()
    with pytest.raises(HostNotReadyError, match="not enough space"):
        do(world)
    assert world.picture() == before


def test_a_vm_whose_domain_was_deleted_is_rebuilt_from_its_data(world):
    del world.host.domains["dev1.devvm.test"]
    assert do(world).vm.metadata.ready
    assert world.read("dev1", "home/note") == "mine"


def test_a_vm_whose_root_was_deleted_is_rebuilt_from_its_data(world):
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    del world.host.volumes[world.vm().root.name]
    do(world)
    assert world.read("dev1", "home/note") == "mine"


def test_chains_stay_short_however_often(world):
    for _ in range(5):
        do(world)
        trash.empty(world.services, trash.items(world.services), world.run("trash empty"))
    assert len(world.host.chain(world.vm().data)) == 1
    assert world.read("dev1", "home/note") == "mine"
    assert {d.role for d in world.vm().disks} == {ROOT, DATA}
