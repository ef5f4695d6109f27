"""A VM that was off during a rollout is updated when it starts."""

import pytest

from tests.support.fleet_world import NEW
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for
from tests.unit.cli.rollout.rollouts import START, states


@pytest.fixture
def due(cli, world):
    world.fleet(2, off=("dev002",))
    cli(*START)
    return world


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_vm_that_starts_is_brought_to_what_it_is_due_for(cli, due, verb):
    done = cli(verb, "dev002", "--json")
    assert (done.code, set(done.json)) == (0, documented_for(verb))
    assert done.json["update"] == {"release": NEW, "result": "done", "error": None}
    assert set(done.json["update"]) == documented("Due")
    assert done.json["vm"]["release"] == NEW
    assert f"dev002 was not running during the rollout r1; updating it to {NEW}" in done.stderr
    assert "converge: Applying nginx" in done.stderr
    assert cli("start", "dev002", "--json").json["update"] is None
    assert states(cli("rollout", "status", "--json").json["rollout"])["dev002"] == "done"


def test_a_vm_that_can_not_be_brought_there_is_started_all_the_same(cli, due):
    due.provisioner.failing["dev002"] = "update"
    done = cli("start", "dev002")
    assert (done.code, done.stdout) == (0, "dev002 is running\n")
    assert f"dev002 could not be updated to {NEW}: task 'update' failed" in done.stderr
    assert "It is running, as before the update." in done.stderr
    assert "Log: " in done.stderr
    assert due.release_of("dev002") == RELEASE


def test_the_error_of_that_is_in_json(cli, due):
    due.provisioner.failing["dev002"] = "update"
    done = cli("start", "dev002", "--json")
    assert (done.code, done.json["update"]["result"]) == (0, "failed")
    assert set(done.json["update"]["error"]) == documented("Error")
    assert done.json["vm"]["state"] == "running"


def test_a_vm_may_be_started_as_it_is(cli, due):
    done = cli("start", "dev002", "--no-update", "--json")
    assert done.json["update"] == {"release": NEW, "result": "put off", "error": None}
    assert due.release_of("dev002") == RELEASE
    assert "devvm update dev002" in done.stderr
