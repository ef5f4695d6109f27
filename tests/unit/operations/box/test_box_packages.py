"""Which packages a box gets, where they come from, and how long they are cached."""

import os
import time
from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release.identity import hash_of
from devvm.operations.box import boxes, in_hand
from tests.support.reference_stack import REFERENCE
from tests.unit.operations.box.building import KERNEL, NEWER, build, leftovers, lock, package

OTHER = "2026.01.01-aaaaaaaaaaaa"


def of_yesterday(world, made):
    """The box, as if it had been built earlier."""
    facts = world.store.details(made) | {"built_at": "2026-01-01T00:00:00+00:00"}
    return world.store.register(made, facts)


def test_a_mirror_that_has_moved_makes_another_release_of_the_same_stack(world):
    first = of_yesterday(world, build(world))
    world.tools.mirror.move(NEWER)
    assert in_hand.find(world.services) == first  # create and rebuild keep using it
    second = build(world)
    assert first.release != second.release
    assert (first.content, second.packages["nginx"]) == (second.content, "2")
    assert in_hand.find(world.services) == second
    assert boxes.list_boxes(world.services) == [second, first]


def test_a_box_of_an_older_devvm_is_a_box_of_the_stack(world):
    made = build(world)
    facts = {k: v for k, v in world.store.details(made).items() if k != "package_set"}
    old = replace(made, release=f"2026.01.01-{REFERENCE.content()}")
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
    assert in_hand.find(world.services) is None  # the lock still names other packages


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
