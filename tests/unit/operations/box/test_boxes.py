"""`devvm box`: registered only when verified, gone without a trace when not, kept while in use."""

import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.adapters.packages.package_cache import PackageCache
from devvm.domain.errors import (
    ExitCode,
    HostNotReadyError,
    LockedError,
    NotFoundError,
    OperationError,
    UsageError,
)
from devvm.domain.model import AnsibleResult, DomainDisk, Outcome, Target
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.release.identity import hash_of, release_hash
from devvm.operations.box import boxes, in_hand
from devvm.operations.core import working_tree
from devvm.ports.box import BuildServices
from devvm.system import assets
from tests.support.memory_state import Layer
from tests.support.world import POOL, World

GIB = 1024**3
OTHER = "2026.01.01-aaaaaaaaaaaa"


def package(name, version="1"):
    """A package whose file says which it is."""
    content = f"{name} {version}".encode()
    return Package(
        name=name, architecture="amd64", version=version, size=len(content), archive="main",
        sha256=hashlib.sha256(content).hexdigest(), path=f"pool/main/{name}_{version}_amd64.deb",
    )  # fmt: skip


KERNEL = package("linux-image-6.1.0-1-cloud-amd64", "6.1")


class Mirror:
    """A mirror of what Debian has today, and of files that it still has."""

    def __init__(self):
        self.packages = PackageSet(packages=(package("nginx"), KERNEL))
        self.up = True
        self.files = {}
        self.asked = []
        self.needed = None  # of a repository; all of it where that is not said

    def source_lines(self):
        return ["deb http://mirror.test/debian bookworm main"]

    def move(self, *packages):
        """Other versions come, and the ones before are gone."""
        self.packages = PackageSet(packages=(*packages, KERNEL))

    def resolve(self, packages, *, detail, log):
        self.asked.append("resolve")
        if not self.up:
            raise OperationError("the package mirror can't be used")
        return self.packages

    def fetch(self, packages, folder, *, detail, log):
        self.asked += [f"fetch {p.name} {p.version}" for p in packages]
        for wanted in packages:
            if self.up and wanted in self.packages:
                file = folder / f"{wanted.sha256}.deb"
                file.write_text(f"{wanted.name} {wanted.version}")
        return [] if self.up else ["http://mirror.test/debian"]

    def closure(self, repository, packages, *, log):
        names = {path.name.partition("_")[0] for path in repository.glob("*.deb")}
        return {(name, "amd64"): "1" for name in self.needed or names}


class Repositories:
    def file(self, folder, package):
        return folder / f"{package.name}_{package.version}_{package.architecture}.deb"

    def index(self, folder, packages):
        (folder / "Packages").touch()


class Tools:
    """What boxes are built with, in memory; `fail_at` makes one of them fail."""

    def __init__(self, writer, state):
        self.calls = []
        self.mirror = Mirror()
        self.cache = PackageCache(state)
        self.installed = {}
        self.role_installs = {}
        self.fail_at = ""
        self.free = 100 * GIB
        self.found_secrets = []
        self.services = BuildServices(
            declarations=self, roots=self, trees=self, containers=self, images=self,
            writer=writer, archive=self.mirror, cache=self.cache, repositories=Repositories(),
        )  # fmt: skip

    def step(self, name):
        self.calls.append(name)
        if name == self.fail_at:
            raise KeyboardInterrupt

    def packages(self, root=None):
        return ("nginx",) if root is None else dict(self.installed)

    def state_paths(self):
        return ("/home",)

    def check(self):
        self.step("check")

    def build(self, packages, *, repository, sources, destination, detail, log):
        self.step("packages")
        files = [path.name.removesuffix(".deb").split("_") for path in repository.glob("*.deb")]
        self.installed = {(name, arch): version for name, version, arch in files}
        self.sources = sources
        destination.write_text("rootfs")

    def unpack(self, tarball, destination, *, log):
        self.step("unpack")
        destination.mkdir(exist_ok=True)

    def remove(self, root):
        if root.is_dir():
            for path in sorted(root.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            root.rmdir()

    def anonymise(self, root):
        self.step("anonymise")

    def secrets(self, root):
        return self.found_secrets

    def debian(self, root):
        return "12.15"

    def free_bytes(self, folder):
        return self.free

    @contextmanager
    def booted(self, root, *, name, detail, log):
        self.step(f"boot {root.name}")
        yield Target(ssh_config=Path("/x"), alias=name)
        self.installed |= self.role_installs
        self.step("shut down")

    def assemble(self, root, destination, *, size_gib, log):
        self.step("disk")
        destination.write_text("disk")

    def install_bootloader(self, disk, root, destination, *, driver, detail, log):
        self.step("bootloader")
        destination.write_text("qcow2")


class Ansible:
    """Changes something the first time, then what a test says."""

    def __init__(self):
        self.results = []
        self.playbooks = []

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        self.playbooks.append(playbook)
        return self.results.pop(0) if self.results else AnsibleResult(ok=9, changed=0)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.store = FolderBoxStore(made.state)
    made.ansible = Ansible()
    made.services = replace(made.services, boxes=made.store, provisioner=made.ansible)
    made.tools = Tools(made.store, made.state)
    return made


def build(world, **options):
    return boxes.build(world.services, world.tools.services, world.run("box build"), **options)


def leftovers(world):
    """Whatever a box left on the host outside the build's own folder."""
    found = [str(path) for path in world.state.boxes.iterdir()]
    found += [str(path) for path in world.state.vms.iterdir()]
    found += sorted(world.host.volumes) + sorted(world.host.domains)
    return found + [f"{release} registered with Vagrant" for release in world.host.added_boxes]


def test_a_built_box_is_registered_with_what_is_known_of_it(world):
    made = build(world)
    packages = world.tools.mirror.packages
    assert hash_of(made.release) == release_hash(working_tree.content(), packages)
    assert made.content == working_tree.content()
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
    """Those that a mirror had today are not those of production's hosts, and are no failure."""
    made = build(world)
    assert world.services.verifier.packages == made.packages != {}


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
    folder = world.state.build / working_tree.content()
    (folder / "root").mkdir(parents=True)
    world.tools.calls.clear()
    build(world)  # the box is there
    assert not folder.exists()
    assert world.tools.calls == []


def test_a_build_that_goes_on_stays_where_an_older_box_of_the_stack_is_there(world):
    build(world)
    world.tools.fail_at = "disk"
    with pytest.raises(KeyboardInterrupt):
        build(world, force=True)
    build(world)
    assert (world.state.build / working_tree.content() / "stages.json").exists()


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
    facts = replace(domain.facts, name="boxcheck-01234567")  # an older devvm took the name
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
    lock = world.state.lock(f"box-{working_tree.content()}", "devvm box build")
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
    assert working_tree.content() in caught.value.details


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
    assert "packages" not in world.tools.calls  # not built: the same image
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
    world.host.added_boxes.clear()  # of Vagrant's copy, too
    with pytest.raises(UsageError, match="need it"):
        build(world)
    assert name in world.host.volumes


def test_the_volume_of_a_box_that_vagrant_has_no_more_hinders_no_build(world):
    world.host.volumes[f"box-{OTHER}.img"] = Layer()
    made = build(world)
    assert boxes.list_boxes(world.services) == [made]


def lock(world, monkeypatch, packages):
    """Give the stack in hand a `packages.lock`."""
    path = world.state.root / "packages.lock"
    path.write_text(packages.text())
    monkeypatch.setattr(assets, "package_lock", lambda: path)


def of_yesterday(world, made):
    """The box, as if it had been built earlier."""
    facts = world.store.details(made) | {"built_at": "2026-01-01T00:00:00+00:00"}
    return world.store.register(made, facts)


NEWER = package("nginx", "2")


def test_a_mirror_that_has_moved_makes_another_release_of_the_same_stack(world):
    first = of_yesterday(world, build(world))
    world.tools.mirror.move(NEWER)
    assert in_hand.find(world.services) == first  # create and rebuild go on with it
    second = build(world)
    assert first.release != second.release
    assert (first.content, second.packages["nginx"]) == (second.content, "2")
    assert in_hand.find(world.services) == second
    assert boxes.list_boxes(world.services) == [second, first]


def test_a_box_of_an_older_devvm_is_a_box_of_the_stack(world):
    made = build(world)
    facts = {k: v for k, v in world.store.details(made).items() if k != "package_set"}
    old = replace(made, release=f"2026.01.01-{working_tree.content()}")
    boxes.remove(world.services, world.tools.services, made.release, world.run("box remove"))
    (world.state.boxes / "x").write_text("box")
    old = world.store.register(
        replace(old, path=world.state.boxes / "x"), facts | {"release": old.release}
    )
    assert in_hand.find(world.services) == old
    assert world.store.package_set(old) is None
    assert build(world, release=old.release) == old
    with pytest.raises(UsageError, match="can't be built here") as caught:
        build(world, release=old.release, force=True)
    assert "older devvm" in caught.value.details


def test_with_a_lock_the_box_has_exactly_that_and_nobody_asks_what_there_is(world, monkeypatch):
    lock(world, monkeypatch, world.tools.mirror.packages)
    made = build(world)
    assert "resolve" not in world.tools.mirror.asked
    assert world.store.package_set(made) == world.tools.mirror.packages
    assert in_hand.find(world.services) == made
    lock(world, monkeypatch, PackageSet(packages=(NEWER, KERNEL)))
    assert in_hand.find(world.services) is None
    assert in_hand.find(world.services, newest=True) == made


def test_a_lock_that_can_not_be_had_names_the_packages_and_two_ways_on(world, monkeypatch):
    gone = [package(f"gone{number}") for number in range(9)]
    lock(world, monkeypatch, PackageSet(packages=(package("nginx"), *gone)))
    with pytest.raises(OperationError) as caught:
        build(world)
    assert caught.value.brief.startswith(
        "9 packages of the box can't be downloaded: gone0 1, gone1 1"
    )
    assert caught.value.brief.endswith("and 3 more")
    assert "--newest" in caught.value.resolution
    assert "box.mirror" in caught.value.resolution
    assert leftovers(world) == []
    newest = build(world, newest=True)
    assert newest.packages == world.tools.mirror.packages.versions
    assert in_hand.find(world.services) is None  # the lock still says something else


def test_a_lock_that_lacks_what_roles_declare_says_how_to_write_it_again(world, monkeypatch):
    lock(world, monkeypatch, PackageSet(packages=(KERNEL,)))
    with pytest.raises(UsageError, match="lacks packages that the roles declare: nginx") as caught:
        build(world)
    assert caught.value.resolution == "devvm release lock"


def test_a_lock_with_more_than_is_needed_is_refused_by_name(world, monkeypatch):
    world.tools.mirror.needed = {"nginx"}
    lock(world, monkeypatch, world.tools.mirror.packages)
    with pytest.raises(OperationError, match=f"more than the box needs: {KERNEL.name}"):
        build(world)


def test_a_release_is_built_again_from_the_cache_without_a_mirror(world):
    first = build(world)
    world.tools.mirror.move(NEWER)
    second = build(world)
    boxes.remove(world.services, world.tools.services, first.release, world.run("box remove"))
    world.tools.mirror.up = False
    world.tools.mirror.asked.clear()
    again = build(world, release=first.release)
    assert hash_of(again.release) == hash_of(first.release)
    assert again.packages == first.packages != second.packages
    assert world.tools.mirror.asked == []


def test_a_damaged_file_in_the_cache_is_fetched_again(world):
    made = build(world)
    nginx = package("nginx")
    (world.state.root / "packages/debs" / f"{nginx.sha256}.deb").write_text("damaged")
    world.tools.mirror.asked.clear()
    build(world, release=made.release, force=True)
    assert world.tools.mirror.asked == ["fetch nginx 1"]


def test_without_a_mirror_and_a_lock_it_is_not_known_what_to_build(world):
    world.tools.mirror.up = False
    with pytest.raises(OperationError, match="mirror can't be used"):
        build(world)
    assert leftovers(world) == []


def test_a_release_of_another_stack_is_not_built_though_its_packages_are_known(world):
    world.tools.cache.remember(hash_of(OTHER), world.tools.mirror.packages)
    with pytest.raises(UsageError, match="can't be built here") as caught:
        build(world, release=OTHER)
    assert "another stack" in caught.value.details


def test_roles_that_install_what_they_do_not_declare_fail_the_build_by_name(world):
    world.tools.role_installs = {("git", "amd64"): "2"}
    with pytest.raises(
        OperationError, match="applying the roles left packages that differ"
    ) as caught:
        build(world)
    assert caught.value.details == "git:amd64: 2 is not in the set"
    assert leftovers(world) == []


def debs(world):
    return {path.name for path in (world.state.root / "packages/debs").iterdir()}


def test_packages_stay_as_long_as_a_box_or_a_recent_build_needs_them(world):
    first = build(world)
    world.tools.mirror.move(NEWER)
    build(world)
    assert debs(world) == {f"{p.sha256}.deb" for p in (package("nginx"), NEWER, KERNEL)}
    boxes.remove(world.services, world.tools.services, first.release, world.run("box remove"))
    assert len(debs(world)) == 3
    old = time.time() - 91 * 24 * 3600
    for path in (world.state.root / "packages/locks").iterdir():
        os.utime(path, (old, old))
    build(world, force=True)
    assert debs(world) == {f"{p.sha256}.deb" for p in (NEWER, KERNEL)}


def test_a_killed_download_is_gone_on_with(world):
    world.tools.fail_at = "packages"
    with pytest.raises(KeyboardInterrupt):
        build(world)
    world.tools.fail_at = ""
    world.tools.mirror.asked.clear()
    build(world)
    assert world.tools.mirror.asked == ["resolve"]
