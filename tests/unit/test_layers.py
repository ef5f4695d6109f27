"""Which volumes lie on which: never a loop, always top down."""

from pathlib import Path

from devvm.adapters.libvirt import layers
from devvm.model import Volume


def volume(name, below=None):
    return Volume(
        name=name, path=Path(f"/pool/{name}"), size_bytes=1, used_bytes=1,
        below=below and Path(f"/pool/{below}"),
    )  # fmt: skip


BOX, ROOT, TOP = volume("box"), volume("root", "box"), volume("top", "root")
OTHER, LOST = volume("other", "box"), volume("lost", "gone")
ALL = [BOX, ROOT, TOP, OTHER, LOST]
USERS = {TOP.path: {"dev1"}, ROOT.path: {"dev1@kept"}, Path("/elsewhere/x"): {"somebody"}}
BELOW = {v.path: v.below for v in ALL}


def test_a_chain_from_the_top_down():
    assert layers.chain(TOP.path, BELOW) == [TOP.path, ROOT.path, BOX.path]
    assert layers.chain(BOX.path, BELOW) == [BOX.path]


def test_a_chain_ends_where_a_file_is_gone_or_a_loop_begins():
    assert layers.chain(LOST.path, BELOW) == [LOST.path, Path("/pool/gone")]
    loop = {Path("/a"): Path("/b"), Path("/b"): Path("/a")}
    assert layers.chain(Path("/a"), loop) == [Path("/a"), Path("/b")]


def test_needed_is_what_a_disk_is_or_lies_on():
    found = layers.needed(ALL, USERS)
    assert found == {TOP.path, ROOT.path, BOX.path, Path("/elsewhere/x")}
    assert layers.needed(ALL, {}) == set()


def test_users_are_those_of_every_layer_above():
    assert layers.users_of("box", ALL, USERS) == ["dev1", "dev1@kept"]
    assert layers.users_of("top", ALL, USERS) == ["dev1"]
    assert layers.users_of("other", ALL, USERS) == []
    assert layers.users_of("nothing", ALL, USERS) == []


def test_a_layer_comes_before_what_it_lies_on():
    names = [v.name for v in layers.top_down([BOX, ROOT, TOP])]
    assert names == ["top", "root", "box"]
