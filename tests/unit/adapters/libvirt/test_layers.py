"""Which volumes are layers on which, and who needs them."""

from pathlib import Path

from devvm.adapters.libvirt import layers
from devvm.domain.disk import Volume


def volume(name, below=None):
    return Volume(name=name, path=Path(f"/p/{name}"), size_bytes=1, used_bytes=1,
                  below=Path(f"/p/{below}") if below else None)  # fmt: skip


VOLUMES = [volume("box"), volume("a1", "box"), volume("a2", "a1"), volume("b", "a1"), volume("x")]


def test_what_a_disk_lies_on_is_needed_too():
    users = {Path("/p/a2"): {"a"}}
    assert {p.name for p in layers.needed(VOLUMES, users)} == {"a2", "a1", "box"}


def test_who_needs_a_volume():
    users = {Path("/p/a2"): {"a"}, Path("/p/b"): {"b@kept"}, Path("/p/x"): {"x"}}
    assert layers.users_of("box", VOLUMES, users) == ["a", "b@kept"]
    assert layers.users_of("a2", VOLUMES, users) == ["a"]
    assert layers.users_of("nothing", VOLUMES, users) == []


def test_a_layer_comes_before_what_it_lies_on():
    order = [v.name for v in layers.top_down(VOLUMES)]
    assert order.index("a2") < order.index("a1") < order.index("box")


def test_a_circle_ends():
    circle = {Path("/p/a"): Path("/p/b"), Path("/p/b"): Path("/p/a")}
    assert len(layers.chain(Path("/p/a"), circle)) == 2
