"""The package cache: by content, written atomically, kept while somebody needs it."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from devvm.adapters.packages.package_cache import PackageCache
from devvm.domain.package_set import Package, PackageSet
from devvm.system.state import State

HASH, OTHER = "1a2b3c4d5e6f", "aaaaaaaaaaaa"


def package(name):
    content = name.encode()
    return Package(
        name=name, architecture="all", version="1", sha256=hashlib.sha256(content).hexdigest(),
        size=len(content), archive="main", path=f"pool/{name}.deb",
    )  # fmt: skip


ACL, GIT, NGINX = package("acl"), package("git"), package("nginx")
SET = PackageSet(packages=(ACL, NGINX))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "packages"


@pytest.fixture
def cache(tmp_path):
    state = State(tmp_path / "state")
    state.ensure()
    return PackageCache(state)


def download(folder, *packages):
    for one in packages:
        (folder / f"{one.sha256}.deb").write_text(one.name)


def test_what_was_downloaded_is_there_for_the_next_build(cache, tmp_path):
    cache.remember(HASH, SET)
    assert cache.remembered(HASH) == SET
    assert cache.remembered(OTHER) is None
    assert not cache.take(ACL, tmp_path / "acl.deb")
    with cache.incoming() as incoming:
        download(incoming, ACL)
    assert cache.take(ACL, tmp_path / "acl.deb")
    assert (tmp_path / "acl.deb").read_text() == "acl"
    assert cache.take(ACL, tmp_path / "acl.deb")  # replaces an existing file


def test_half_a_file_does_not_count(cache, folder, tmp_path):
    cache.remember(HASH, SET)
    with cache.incoming() as incoming:
        download(incoming, NGINX)
        (incoming / f"{ACL.sha256}.deb").write_text("ac")
    assert [path.name for path in (folder / "debs").iterdir()] == [f"{NGINX.sha256}.deb"]
    assert not list(folder.glob("incoming-*"))


def test_what_a_killed_process_has_downloaded_is_taken_in_and_a_living_one_is_let_be(
    cache, folder, tmp_path
):
    cache.remember(HASH, SET)
    dead = folder / "incoming-dead"
    dead.mkdir()
    download(dead, ACL)
    with cache.incoming() as living:
        assert cache.take(ACL, tmp_path / "acl.deb")
        assert not dead.exists()
        download(living, NGINX)
        with cache.incoming():
            assert living.exists()
            assert not cache.take(NGINX, tmp_path / "nginx.deb")
    assert cache.take(NGINX, tmp_path / "nginx.deb")


def test_a_damaged_file_is_dropped(cache, folder, tmp_path):
    cache.remember(HASH, SET)
    (folder / "debs" / f"{ACL.sha256}.deb").write_text("damaged")
    assert not cache.take(ACL, tmp_path / "acl.deb")
    assert list((folder / "debs").iterdir()) == []


@pytest.mark.parametrize("content", ["", "<<<<<<< x", "acl"])
def test_a_damaged_set_is_not_known(cache, folder, content):
    cache.remember(HASH, SET)
    (folder / "locks" / f"{HASH}.lock").write_text(content)
    assert cache.remembered(HASH) is None


def kept(cache, folder) -> set[str]:
    return {path.name.removesuffix(".deb") for path in (folder / "debs").iterdir()}


def test_what_nobody_needs_goes_and_what_somebody_needs_stays(cache, folder):
    cache.remember(HASH, SET)
    cache.remember(OTHER, PackageSet(packages=(GIT,)))
    with cache.incoming() as incoming:
        download(incoming, ACL, GIT, NGINX)
    assert cache.collect([], [], days=90) == 0  # both are from today
    old = time.time() - 91 * 24 * 3600
    for path in (folder / "locks").iterdir():
        os.utime(path, (old, old))
    assert cache.collect([HASH], [], days=90) == GIT.size
    assert kept(cache, folder) == {ACL.sha256, NGINX.sha256}
    assert cache.remembered(OTHER) is None
    assert cache.collect([], [PackageSet(packages=(ACL,))], days=90) == NGINX.size
    assert kept(cache, folder) == {ACL.sha256}


def test_where_nothing_was_built_there_is_nothing_to_tidy(cache, folder: Path):
    assert cache.collect([], [], days=90) == 0
    assert not folder.exists()
