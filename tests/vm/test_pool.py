"""The pool: a VM that is made of a spare is itself, and the pool is filled beside other work."""

import time

import pytest

from tests.vm.baseline import virsh
from tests.vm.conftest import look
from tests.vm.test_killed import kill, start
from tests.vm.test_warm import WHO_ARE_YOU

pytestmark = pytest.mark.vm


def settled(devvm):
    """The pool, once nobody fills it any more."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        pool = devvm("list", "--pool", "--json").json["pool"]
        good = [one for one in pool["spares"] if not one["stale"] and not one["busy"]]
        if not pool["filling"] and len(good) == sum(pool["wanted"].values()):
            return pool
        assert pool["failure"] is None
        time.sleep(2)
    pytest.fail(f"the pool is not filled: {pool}")


@pytest.fixture(scope="module")
def filled(devvm, box, made):
    """A pool of one, filled in the background; what there was before it; how it was shown."""
    made.baseline.restore()
    devvm("stop", "dev1")  # for its processors
    before = look(devvm)
    set_to = devvm("pool", "set", "1")
    assert "There are no VMs" not in devvm("list").stdout
    settled(devvm)
    yield before, set_to
    devvm("pool", "set", "0")
    settled(devvm)
    assert look(devvm) == before


@pytest.fixture(scope="module")
def taken(devvm, filled):
    """A VM made of the spare: its JSON, who it is, and what the database server is told."""
    (spare,) = devvm("list", "--pool", "--json").json["pool"]["spares"]
    made = devvm("create", "heir", "--engineer", "heirer", "--json").json
    made["spare"] = spare
    script = ["sudo", "python3", "-c", WHO_ARE_YOU]
    made["is"] = devvm("exec", "heir", "--", *script).json
    query = "select @@hostname"
    asked = ["sudo", "mariadb", "--batch", "--skip-column-names", "--execute", query]
    made["host name"] = devvm("exec", "heir", "--", *asked).stdout.strip()
    yield made
    devvm("destroy", "heir", "--purge", "heir")


def test_a_spare_is_filled_in_the_background_and_shown(filled, devvm):
    _, set_to = filled
    assert "0 of 1 are ready" in set_to.stdout
    shown = devvm("list", "--pool").stdout
    assert " ready " in shown
    assert "1 of 1 are ready" in shown
    assert "spare" not in devvm("list").stdout.lower()
    assert devvm("doctor", "--json").json["healthy"]


def test_create_takes_it_and_the_vm_passes_every_check(taken):
    phases = [phase["name"] for phase in taken["run"]["phases"]]
    assert "take" in phases
    assert not {"boot", "restore"} & set(phases)
    assert taken["report"]["passed"], taken["report"]
    assert taken["is"]["state"] == "running"


def test_the_vm_is_itself(taken):
    vm, found = taken["vm"], taken["is"]
    assert found["own"]["host name"] == "heir"
    assert found["own"]["MAC address"] == vm["mac"]
    assert found["own"]["address"] == vm["address"]
    assert found["own"]["engineer"] == "heirer"
    assert found["own"]["journal"] == found["own"]["machine ID"]
    assert found["own"]["D-Bus machine ID"] == found["own"]["machine ID"]
    assert found["logged as"] == ["heir"]
    assert found["accounts"] == ["heirer"]
    assert not found["left"]
    assert vm["uuid"] == virsh("domuuid", vm["fqdn"]).strip()
    assert all(found["own"].values())


def test_nothing_of_the_spare_is_left_in_it_but_what_the_application_stored(taken):
    """Its worker was registered in Redis, which appends to its file."""
    left = taken["is"]["template"].splitlines()
    assert [path for path in left if "/var/lib/redis/" not in path] == []


def test_its_services_know_its_name(taken):
    assert taken["host name"] == "heir"


def test_one_that_is_killed_while_it_takes_the_spare_leaves_it_there(taken, devvm):
    settled(devvm)  # create began to fill it
    filled = devvm("pool", "fill", "--json").json["pool"]
    assert filled["failure"] is None
    (spare,) = filled["spares"]
    assert spare["id"] != taken["spare"]["id"]
    there = look(devvm)
    kill(start("create", "heir2", "--engineer", "joe"), "take: Taking")
    devvm("doctor", "--fix")
    assert look(devvm) == there
    assert [one["id"] for one in settled(devvm)["spares"]] == [spare["id"]]
