"""The box: built for real, or there already and kept; the first tests that want a guest."""

import pytest

pytestmark = pytest.mark.vm


def test_the_box_of_this_stack_is_there_and_shown(devvm, box):
    listed = devvm("box", "list", "--json").json["boxes"]
    assert box["release"] in [found["release"] for found in listed]
    shown = devvm("box", "show", box["release"], "--json").json
    assert shown["verified"]
    assert {"nginx", "mariadb-server"} <= set(shown["packages"])
