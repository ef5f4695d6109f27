"""Boxes on the host: registered atomically, valid for Vagrant, damage detected."""

import json
import tarfile

import pytest

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.domain.errors import OperationError
from devvm.domain.package_set import parse
from devvm.system.state import State

OLD, NEW = "2026.11.22-aaaaaaaaaaaa", "2026.11.23-aaaaaaaaaaaa"
OTHER = "2026.11.23-bbbbbbbbbbbb"
FACTS = {"built_at": "2026-11-23T10:00:00+00:00", "debian": "12.15", "packages": {"acl": "2.3.1"}}


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state")
    made.ensure()
    made.build.mkdir()
    return made


@pytest.fixture
def store(state):
    return FolderBoxStore(state)


@pytest.fixture
def pack(state, store):
    def make(release=NEW, content=b"a disk", packages=None):
        image = state.build / "box.img"
        image.write_bytes(content)
        return store.pack(image, release, state.build / "devvm.box", packages)

    return make


def test_a_packed_box_is_what_vagrant_expects(pack):
    with tarfile.open(pack().path) as archive:
        assert archive.getnames() == ["metadata.json", "Vagrantfile", "box.img"]
        metadata = json.load(archive.extractfile("metadata.json"))
        vagrantfile = archive.extractfile("Vagrantfile").read().decode()
        owners = {(m.uid, m.gid, m.uname) for m in archive.getmembers()}
    assert metadata == {"provider": "libvirt", "format": "qcow2", "virtual_size": 20}
    assert "insert_key = false" in vagrantfile
    assert owners == {(0, 0, "root")}


def test_a_box_carries_its_packages_and_they_are_on_record(store, pack):
    packages = parse(f"acl amd64 2.3.1 {64 * 'a'} 9 main other pool/acl.deb\n", "x")
    candidate = pack(packages=packages)
    with tarfile.open(candidate.path) as archive:
        text = archive.extractfile("packages.lock").read().decode()
    assert parse(text, "x") == packages
    facts = {"package_set": packages.text().splitlines(), "content": "0123456789ab"}
    box = store.register(candidate, FACTS | facts)
    assert store.package_set(box) == packages
    assert box.content == "0123456789ab"


def test_of_a_box_of_an_older_devvm_content_is_its_name_and_its_packages_are_not_known(store, pack):
    box = store.register(pack(), FACTS)
    assert box.content == "aaaaaaaaaaaa"
    assert store.package_set(box) is None


def test_a_record_of_packages_that_is_damaged_is_said(store, pack):
    box = store.register(pack(), FACTS | {"package_set": ["nonsense"]})
    with pytest.raises(OperationError, match=r"metadata\.json can't be read"):
        store.package_set(box)


def test_a_candidate_is_not_registered(store, pack):
    assert not pack().verified
    assert store.list() == []
    assert store.find(NEW) is None


def test_a_registered_box_is_found_by_its_content(store, pack):
    box = store.register(pack(), FACTS)
    assert box.verified
    assert box.packages == {"acl": "2.3.1"}
    assert store.list() == [box]
    assert store.find(OLD) == box
    assert store.find(OTHER) is None
    assert box.path.stat().st_mode & 0o777 == 0o640


def test_a_folder_without_metadata_is_no_box(state, store, pack):
    (state.boxes / NEW).mkdir()
    (state.boxes / NEW / "devvm.box").write_bytes(b"half")
    assert store.list() == []
    assert store.register(pack(), FACTS).release == NEW


def test_the_newest_comes_first(store, pack):
    store.register(pack(NEW), FACTS | {"built_at": "2026-11-23T10:00:00+00:00"})
    store.register(pack(OLD), FACTS | {"built_at": "2026-11-22T10:00:00+00:00"})
    assert [box.release for box in store.list()] == [NEW, OLD]
    assert store.find(OLD).release == NEW


def test_one_flipped_byte_is_damage(store, pack):
    box = store.register(pack(content=b"a disk"), FACTS)
    assert store.damage(box) is None
    content = bytearray(box.path.read_bytes())
    content[-1] ^= 1
    box.path.write_bytes(content)
    assert box.sha256 in store.damage(box)
    box.path.unlink()
    assert "can't be read" in store.damage(box)


def test_a_removed_box_leaves_nothing(state, store, pack):
    box = store.register(pack(), FACTS)
    store.remove(box)
    store.remove(box)
    assert list(state.boxes.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', '{"format": 1, "release": "x"}'])
def test_unreadable_metadata_is_said_with_a_way_out(state, store, text):
    (state.boxes / NEW).mkdir()
    (state.boxes / NEW / "metadata.json").write_text(text)
    with pytest.raises(OperationError) as caught:
        store.list()
    assert "sudo devvm box build" in caught.value.resolution
