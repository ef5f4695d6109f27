"""`devvm pool ...`, `devvm list --pool`, and what starts to fill the pool."""

import sys

import pytest

from devvm import wiring
from devvm.cli.pool import refill
from devvm.domain.errors import OperationError
from devvm.operations.pool import pool, sizes
from devvm.system import process
from tests.unit.cli.documented import RELEASE, documented, documented_for

FILL = [sys.executable, "-m", "devvm", "pool", "fill", "--quiet"]


@pytest.fixture
def started(monkeypatch):
    """The commands that were started in the background."""
    found = []
    monkeypatch.setattr(process, "detached", found.append)
    return found


class Timer:
    """The timer on a host with systemd."""

    def __init__(self):
        self.on = False
        self.refuses = False

    def possible(self):
        return True

    def installed(self):
        return self.on

    there = installed

    def install(self):
        self.set(True)

    def remove(self):
        self.set(False)

    def set(self, on):
        if self.refuses:
            raise OperationError("sudo failed (exit code 1)")
        self.on = on


@pytest.fixture
def timer(monkeypatch):
    made = Timer()
    monkeypatch.setattr(wiring, "pool_timer", lambda: made)
    return made


def test_set_starts_to_fill_it_in_the_background(cli, world, started, timer):
    done = cli("pool", "set", "2", "--json")
    assert done.code == 0
    assert set(done.json) == documented_for("pool set") == {"pool"}
    assert set(done.json["pool"]) == documented("Pool")
    newest = world.boxes.list()[0].release
    assert done.json["pool"]["wanted"] == {newest: 2}
    assert started == [FILL]
    assert done.json["pool"]["filling"]
    assert timer.on
    assert cli("pool", "set", "0").code == 0
    assert started == [FILL]
    assert not timer.on


def test_fill_and_list(cli, world, started, timer):
    cli("pool", "set", "2", RELEASE)
    assert f"0 of 2 are ready for {RELEASE}" in cli("list", "--pool").stdout
    done = cli("pool", "fill", "--json")
    assert done.code == 0
    assert set(done.json["pool"]["spares"][0]) == documented("Spare")
    assert cli("list", "--pool", "--json").json == done.json
    text = cli("list", "--pool").stdout
    assert text.count("  ready  ") == 2
    assert text.endswith(f"2 of 2 are ready for {RELEASE}\n")
    assert "spare" not in cli("list").stdout


def test_without_a_pool(cli, world, started):
    shown = cli("list", "--pool")
    assert (shown.code, shown.stdout) == (0, "")
    assert shown.stderr == "There is no pool of spare VMs on this host. Next: devvm pool set 3\n"
    assert cli("pool", "fill").code == 0
    refill.start(None, world.services)
    assert started == []


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["three"], 2, "COUNT"),
        (["-1"], 2, "-1"),
        (["51"], 2, "COUNT"),
        (["3", "2020.01.01-000000000000"], 2, "no box of release 2020.01.01-000000000000"),
        (["3", "newest"], 2, "newest"),
    ],
)
def test_bad_input_changes_nothing(cli, world, started, timer, argv, code, said):
    done = cli("pool", "set", *argv)
    assert done.code == code
    assert said in done.stderr
    assert sizes.read(world.services).spares == {}
    assert (started, timer.on) == ([], False)


def test_where_spares_would_not_be_used_none_are_made(cli, world, started, timer, monkeypatch):
    services = world.configured(warm=False)
    monkeypatch.setattr(wiring, "build_services", lambda config: services)
    done = cli("pool", "set", "3")
    assert done.code == 2
    assert "the setting vm.warm is false" in done.stderr
    assert cli("pool", "set", "0").code == 0


def test_without_root_it_is_said_that_there_is_no_timer(cli, world, started, timer):
    timer.refuses = True
    done = cli("pool", "set", "1")
    assert done.code == 0
    assert (
        "The pool has no timer: sudo failed (exit code 1). Next: run this command as root"
        in done.stderr
    )
    assert started == [FILL]


def test_nothing_is_started_twice_or_without_need(world, started):
    sizes.set_size(world.services, RELEASE, 1)
    with world.state.lock("spare-pool", "pool fill"):
        refill.start(None, world.services)
    assert started == []
    refill.start(None, world.services)
    assert started == [FILL]
    pool.fill(world.services, world.run("pool fill"))
    refill.start(None, world.services)
    assert started == [FILL]


def test_a_failure_is_shown_with_what_to_type(cli, world, started, timer):
    cli("pool", "set", "1", RELEASE)
    world.host.free = 1024
    failed = cli("pool", "fill")
    assert failed.code == 4
    shown = cli("list", "--pool")
    assert "The pool could not be filled: there is no room for another spare VM" in shown.stderr
    assert "Next: devvm pool fill" in shown.stderr


def test_create_takes_one_and_has_it_replaced(cli, world, started, timer, monkeypatch):
    monkeypatch.setattr("devvm.cli.host.readiness.ensure", lambda *args, **kwargs: None)
    cli("pool", "set", "1", RELEASE)
    cli("pool", "fill")
    started.clear()
    done = cli("create", "dev1", "--release", RELEASE)
    assert done.code == 0
    assert started == [FILL]
