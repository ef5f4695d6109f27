"""Kills real operations on real libvirt objects, and reports at the end what was tried."""

import functools
import os
import random
import subprocess
from dataclasses import dataclass

import pytest

from tests.kill.kill_fleet import Fleet
from tests.kill.kill_host import HERE, REPOSITORY, Host, corner
from tests.kill.kill_scenarios import Scenarios
from tests.kill.kill_states import problems
from tests.kill.own_host import MARK

#: How many corners to use in parallel; powering off is mostly waiting.
CORNERS = int(os.environ.get("DEVVM_KILL_CORNERS", "4"))
_TRIED = pytest.StashKey[list]()
_SEED = pytest.StashKey[str]()


def pytest_configure(config):
    config.stash[_TRIED] = []
    config.stash[_SEED] = os.environ.get("DEVVM_KILL_SEED") or _commit()


@dataclass(frozen=True)
class Corner:
    """A part of the libvirt host, and the operations that are tried in it."""

    host: Host
    scenarios: Scenarios
    fleet: Fleet


@pytest.fixture(scope="session")
def own_host():
    """Make sure that these tests run on their own libvirt host."""
    if os.environ.get(MARK) != "yes":
        pytest.fail("needs a libvirt host of its own: sudo bin/test kill", pytrace=False)


@pytest.fixture(scope="session")
def corners(own_host, tmp_path_factory):
    """Parts of the host to work in, in parallel."""
    made = []
    for number in range(CORNERS):
        host = corner(number, _readable(tmp_path_factory.mktemp("kill")))
        host.libvirt.volumes.ensure()
        host.libvirt.network.ensure()
        host.make_box()
        scenarios = Scenarios(host, number)
        made.append(Corner(host, scenarios, Fleet(host, scenarios)))
    return made


@pytest.fixture
def host(corners):
    """One corner of the host, with nothing in it but a box."""
    corners[0].host.restore(corners[0].scenarios.nothing)
    return corners[0].host


@pytest.fixture(scope="session")
def uninterrupted(corners):
    """The boundaries of an operation that isn't killed, which must succeed. Run once."""

    @functools.cache
    def boundaries(operation):
        host, scenarios = corners[0].host, corners[0].scenarios
        scenario = scenarios.named(operation)
        host.restore(scenario.baseline)
        passed, done = host.boundaries(*scenario.argv, **dict.fromkeys(scenario.options, True))
        ended = scenario.before if scenario.options else scenario.after
        assert done.code == (3 if scenario.options else 0), done.output
        wrong = problems(host, ended, scenarios.goldens, scenario.baseline)
        assert not wrong, (wrong, done.output)
        return passed

    return boundaries


@pytest.fixture
def scenarios(corners):
    return corners[0].scenarios


@pytest.fixture(scope="session")
def tried(request):
    """Rows of what was tried: operation, boundaries, moments, how many, survived, seconds."""
    return request.config.stash[_TRIED]


@pytest.fixture
def dice(request):
    """Random moments; the same for the same commit, or for the same DEVVM_KILL_SEED."""
    return random.Random(f"{request.config.stash[_SEED]} {request.node.name}")


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_TRIED, [])
    if not rows:
        return
    terminalreporter.section(f"killed and typed again (DEVVM_KILL_SEED={config.stash[_SEED]})")
    line = "{:<34} {:>10} {:>7} {:>6} {:>9} {:>5}"
    heads = ("operation", "boundaries", "states", "tried", "survived", "s")
    terminalreporter.write_line(line.format(*heads))
    for row in rows:
        terminalreporter.write_line(line.format(*row))
    tried, survived = sum(row[3] for row in rows), sum(row[4] for row in rows)
    terminalreporter.write_line(line.format("all", "", "", tried, survived, ""))


def _commit():
    """The commit under test; constant if there is no Git."""
    argv = [
        "git",
        "-C",
        HERE,
        "-c",
        f"safe.directory={REPOSITORY}",
        "rev-parse",
        "--short=12",
        "HEAD",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"


def _readable(path):
    """Make pytest's folder, which is private, accessible for QEMU's user."""
    path.chmod(0o755)
    return path
