"""The box: built for real unless it exists; the first tests that need a guest."""

import pytest

from tests.support import stack_mirror

pytestmark = pytest.mark.vm


def test_the_box_of_this_stack_is_there_and_shown(devvm, box):
    listed = devvm("box", "list", "--json").json["boxes"]
    assert box["release"] in [found["release"] for found in listed]
    shown = devvm("box", "show", box["release"], "--json").json
    assert shown["verified"]
    assert {"nginx", "mariadb-server"} <= set(shown["packages"])


def test_what_is_newer_than_in_production_is_told_and_fails_no_box(devvm, box, news):
    shown = devvm("box", "show", box["release"], "--json").json
    moved = {one["package"]: one for one in shown["packages_moved"]}
    assert {name: moved[name]["found"] for name in news} == news
    assert all(moved[name]["newer"] for name in news.keys() - {stack_mirror.DEPENDENCY})
    newer = sum(one["newer"] for one in moved.values())
    said = devvm("box", "show", box["release"]).stdout
    assert f"{len(moved)} packages are not as in production ({newer} newer, " in said
