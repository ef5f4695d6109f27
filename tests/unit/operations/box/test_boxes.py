"""`devvm box`: registered only if verified, removed completely if not, kept while in use."""

from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.disk import DomainDisk
from devvm.domain.errors import (
    ExitCode,
    HostNotReadyError,
    LockedError,
    NotFoundError,
    OperationError,
    UsageError,
)
from devvm.domain.package_set import PackageSet
from devvm.domain.release.identity import hash_of, release_hash
from devvm.domain.run import AnsibleResult
from devvm.operations.box import boxes
from devvm.stack.description import Description
from devvm.stack.folder import StackFolder
from tests.support.memory_state import Layer
from tests.support.reference_stack import REFERENCE
from tests.support.world import POOL
from tests.unit.operations.box.building import GIB, KERNEL, NEWER, build, leftovers, lock, package

OTHER = "2026.01.01-aaaaaaaaaaaa"


def test_a_built_box_is_registered_with_what_is_known_of_it(world):
    made = build(world)
    packages = world.tools.mirror.packages
    assert hash_of(made.release) == release_hash(REFERENCE.content(), packages)
    assert made.content == REFERENCE.content()
    assert made.packages == packages.versions
    assert world.store.package_set(made) == packages
    assert world.tools.sources == world.tools.mirror.source_lines()
    assert made.verified
    assert made.debian == "12.15"
    assert made.production_sha256 == world.releases.production_in_hand
    assert boxes.list_boxes(world.services) == [made]
    assert boxes.show(world.services, made.release) == made
    assert world.ansible.playbooks == ["box.yml", "box.yml"]
    assert list(world.state.vms.iterdir()) == []
    assert list(world.state.build.iterdir()) == []


def test_a_candidate_is_judged_by_its_own_packages(world):
    """Packages that the mirror updated since production's capture are not failures."""
    made = build(world)
    assert world.services.verifier.packages == made.packages != {}


@pytest.mark.parametrize("network", [False, True])
def test_roles_reach_the_network_if_the_stack_says_so(world, monkeypatch, network):
    described = Description(box={"network": network})
    monkeypatch.setattr(StackFolder, "description", lambda _: described)
    build(world)
    assert world.tools.network is network


def test_phases_are_those_of_the_documentation(world):
    build(world)
    stages = ["packages", "converge", "idempotence", "anonymise", "disk", "bootloader"]
    assert world.reporter.phases == [
        "resolve",
        *stages,
        "network",
        "disks",
        "boot",
        "verify",
        "save",
        "register",
    ]


def test_a_box_that_is_there_is_not_built_again_and_needs_no_root(world):
    made = build(world)
    world.tools.calls.clear()
    assert build(world) == made
    assert build(world, release=made.release) == made
    assert world.tools.calls == []
    assert "--force" in world.reporter.notes[-1]


def test_force_builds_it_anew_from_the_first_stage_on(world):
    build(world)
    world.tools.calls.clear()
    build(world, force=True)
    assert "packages" in world.tools.calls


@pytest.mark.parametrize(
    "stage",
    ["packages", "unpack", "boot root.part", "boot root", "anonymise", "disk", "bootloader"],
)
def test_an_interrupted_build_registers_nothing_and_goes_on(world, stage):
    world.tools.fail_at = stage
    with pytest.raises(KeyboardInterrupt):
        build(world)
    assert leftovers(world) == []
    done = world.tools.calls.count("packages") if stage != "packages" else 0
    world.tools.fail_at = ""
    build(world)
    assert world.tools.calls.count("packages") == 1 + (not done)


def test_a_tree_that_is_half_converged_does_not_count(world):
    world.tools.fail_at = "shut down"
    with pytest.raises(KeyboardInterrupt):
        build(world)
    world.tools.fail_at = ""
    build(world)
    assert world.tools.calls.count("unpack") == 2


def test_roles_that_are_not_idempotent_fail_the_build_by_name(world):
    again = AnsibleResult(ok=9, changed=1, tasks=({"role": "nginx", "task": "Configure"},))
    world.ansible.results = [AnsibleResult(ok=9, changed=9), again]
    with pytest.raises(OperationError, match="not idempotent") as caught:
        build(world)
    assert caught.value.details == "nginx: Configure"
    assert leftovers(world) == []


def test_a_secret_fails_the_build(world):
    world.tools.found_secrets = ["/etc/x holds a private key"]
    with pytest.raises(OperationError) as caught:
        build(world)
    assert caught.value.details == "/etc/x holds a private key"


def test_a_box_that_does_not_pass_is_gone_from_everywhere(world):
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(OperationError, match="fails 1 of 1") as caught:
        build(world)
    assert "unit/nginx.service" in caught.value.details
    assert leftovers(world) == []


def test_a_build_killed_while_it_put_its_folder_away_leaves_nothing_after_the_next(world):
    build(world)
    folder = world.state.build / REFERENCE.content()
    (folder / "root").mkdir(parents=True)
    world.tools.calls.clear()
    build(world)  # the box exists
    assert not folder.exists()
    assert world.tools.calls == []


def test_a_build_that_goes_on_stays_where_an_older_box_of_the_stack_is_there(world):
    build(world)
    world.tools.fail_at = "disk"
    with pytest.raises(KeyboardInterrupt):
        build(world, force=True)
    build(world)
    assert (world.state.build / REFERENCE.content() / "stages.json").exists()


@pytest.mark.parametrize("step", ["add_box", "upload_box", "define", "boot", "wait", "verify"])
def test_an_interrupted_verification_leaves_nothing(world, step):
    world.host.fail_at, world.host.failure = step, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        build(world)
    assert leftovers(world) == []


def test_a_vm_that_a_killed_check_left_is_removed(world):
    (world.state.vms / "boxcheck-01234567").mkdir()
    (world.state.vms / "boxcheck-mine").mkdir()
    build(world)
    assert [path.name for path in world.state.vms.iterdir()] == ["boxcheck-mine"]


def test_a_person_s_vm_of_such_a_name_is_left_alone(world):
    made = build(world)
    world.create("dev1")
    domain = world.host.domains.pop("dev1.devvm.test")
    facts = replace(domain.facts, name="boxcheck-01234567")  # the name an older devvm used
    fqdn = "boxcheck-01234567.devvm.test"
    world.host.domains[fqdn] = replace(domain, name=fqdn, facts=facts)
    assert boxes.verify(world.services, made.release, world.run("box verify")).passed
    assert fqdn in world.host.domains


def test_builds_of_other_stacks_are_cleared_away_unless_somebody_is_at_it(world):
    for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        (world.state.build / name).mkdir(parents=True)
    with world.state.lock("box-bbbbbbbbbbbb", "another build"):
        build(world)
    assert [path.name for path in world.state.build.iterdir()] == ["bbbbbbbbbbbb"]


def test_only_one_builds_a_box(world):
    lock = world.state.lock(f"box-{REFERENCE.content()}", "devvm box build")
    with lock, pytest.raises(LockedError):
        build(world)


def test_too_little_space_is_said_before_anything_is_done(world):
    world.tools.free = 1 * GIB
    with pytest.raises(HostNotReadyError, match="not enough space") as caught:
        build(world)
    assert "1.0 GiB" in caught.value.details
    assert set(world.tools.calls) == {"check"}
    assert caught.value.exit_code is ExitCode.HOST_NOT_READY


def test_another_stack_s_box_can_not_be_built(world):
    with pytest.raises(UsageError, match="can't be built here") as caught:
        build(world, release=OTHER)
    assert REFERENCE.content() in caught.value.details


def test_a_release_that_is_none_is_bad_input(world):
    with pytest.raises(UsageError):
        build(world, release="latest")
    with pytest.raises(UsageError):
        boxes.show(world.services, "../etc")


def test_an_unknown_box_is_not_found(world):
    with pytest.raises(NotFoundError):
        boxes.show(world.services, OTHER)


def test_verify_checks_the_file_and_then_a_vm(world):
    made = build(world)
    assert boxes.verify(world.services, made.release, world.run("box verify")).passed
    made.path.write_bytes(b"damaged")
    with pytest.raises(OperationError, match="is damaged"):
        boxes.verify(world.services, made.release, world.run("box verify"))


def test_remove_takes_the_box_out_of_vagrant_the_pool_and_the_folder(world):
    made = build(world)
    boxes.remove(world.services, world.tools.services, made.release, world.run("box remove"))
    assert leftovers(world) == []


def remove(world):
    (made,) = boxes.list_boxes(world.services)
    boxes.remove(world.services, world.tools.services, made.release, world.run("box remove"))


def replace_it(world):
    build(world, force=True)


@pytest.mark.parametrize("change", [remove, replace_it])
def test_a_box_in_use_is_kept(world, change, monkeypatch):
    made = build(world)
    monkeypatch.setattr(world.services.volumes, "users_of", lambda _name: ["dev1.devvm.test"])
    with pytest.raises(UsageError, match="need it") as caught:
        change(world)
    assert caught.value.details == "dev1.devvm.test"
    assert caught.value.resolution == "devvm destroy dev1"
    assert boxes.list_boxes(world.services) == [made]


def test_a_box_whose_record_is_lost_is_taken_up_again_under_its_vms(world):
    made = build(world)
    name = world.services.vagrant.volume_name(made)
    world.foreign("dev1.devvm.test")
    domain = world.host.domains["dev1.devvm.test"]
    disk = DomainDisk(device="vda", role="root", path=POOL / name)
    world.host.domains["dev1.devvm.test"] = replace(domain, disks=(disk,))
    for path in sorted(made.path.parent.iterdir()):
        path.unlink()
    assert boxes.list_boxes(world.services) == []
    world.tools.calls.clear()
    again = build(world)
    assert "packages" not in world.tools.calls  # not built again: the image is the same
    assert (again.release, again.image_sha256) == (made.release, made.image_sha256)
    assert (again.packages, world.store.package_set(again)) == (
        made.packages, world.tools.mirror.packages
    )  # fmt: skip
    assert world.host.domains["dev1.devvm.test"].disks == (disk,)


def test_a_lost_box_is_taken_up_again_only_where_it_is_what_the_lock_says(world, monkeypatch):
    made = build(world)
    name = world.services.vagrant.volume_name(made)
    world.foreign("dev1.devvm.test")
    domain = world.host.domains["dev1.devvm.test"]
    disk = DomainDisk(device="vda", role="root", path=POOL / name)
    world.host.domains["dev1.devvm.test"] = replace(domain, disks=(disk,))
    for path in sorted(made.path.parent.iterdir()):
        path.unlink()
    world.tools.mirror.move(NEWER)
    lock(world, monkeypatch, world.tools.mirror.packages)
    other = build(world)
    assert (other.packages["nginx"], other.release != made.release) == ("2", True)
    assert world.host.domains["dev1.devvm.test"].disks == (disk,)
    for path in sorted(other.path.parent.iterdir()):
        path.unlink()
    lock(world, monkeypatch, PackageSet(packages=(package("nginx"), KERNEL)))
    again = build(world)
    assert (again.release, again.image_sha256) == (made.release, made.image_sha256)


def test_the_image_under_vms_is_never_replaced_by_another_of_the_same_name(world):
    made = build(world)
    name = world.services.vagrant.volume_name(made)
    world.foreign("dev1.devvm.test")
    disk = DomainDisk(device="vda", role="root", path=POOL / name)
    domain = world.host.domains["dev1.devvm.test"]
    world.host.domains["dev1.devvm.test"] = replace(domain, disks=(disk,))
    for path in sorted(made.path.parent.iterdir()):
        path.unlink()
    world.host.added_boxes.clear()  # Vagrant's copy, too
    with pytest.raises(UsageError, match="need it"):
        build(world)
    assert name in world.host.volumes


def test_the_volume_of_a_box_that_vagrant_has_no_more_hinders_no_build(world):
    world.host.volumes[f"box-{OTHER}.img"] = Layer()
    made = build(world)
    assert boxes.list_boxes(world.services) == [made]
