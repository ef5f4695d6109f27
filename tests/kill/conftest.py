"""Kills real operations on real libvirt objects; what was tried is told at the end."""

import fcntl
import os
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.kill_fleet import Fleet
from tests.kill.kill_host import Host, corner
from tests.kill.kill_scenarios import Scenarios

#: How many at once: a power-off is mostly waiting.
CORNERS = int(os.environ.get("DEVVM_KILL_CORNERS", "4"))
_TRIED = pytest.StashKey[list]()
_SEED = pytest.StashKey[int]()


def pytest_configure(config):
    config.stash[_TRIED] = []
    config.stash[_SEED] = int(os.environ.get("DEVVM_KILL_SEED", time.time_ns() % 10**6))


@dataclass(frozen=True)
class Corner:
    """A part of the libvirt host, and the operations that are tried there."""

    host: Host
    scenarios: Scenarios
    fleet: Fleet


@pytest.fixture(scope="session")
def corners(tmp_path_factory):
    """Parts of the host to work in at the same time; nothing is left of them afterwards."""
    if os.geteuid() != 0:
        pytest.fail("needs root")
    with Path("/run/lock/devvm-kill-tests.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two runs of the tests on one host take turns
        made = []
        for number in range(CORNERS):
            host = corner(number, _readable(tmp_path_factory.mktemp("kill")))
            # A packet for a VM that is gone must never leave this machine.
            route = ["ip", "route", "replace", "unreachable", host.config.network.address]
            subprocess.run([*route, "metric", "4000000000"], check=True)
            host.clear_domains()
            host.hypervisor.ensure_pool()
            host.hypervisor.ensure_network()
            host.clear()
            host.make_box()
            scenarios = Scenarios(host, number)
            made.append(Corner(host, scenarios, Fleet(host, scenarios)))
        yield made
        for one in made:
            one.host.remove()


@pytest.fixture
def host(corners):
    """One part of the host, with nothing in it but a box."""
    corners[0].host.restore(corners[0].scenarios.nothing)
    return corners[0].host


@pytest.fixture
def scenarios(corners):
    return corners[0].scenarios


@pytest.fixture(scope="session")
def tried(request):
    """Rows of what was tried: operation, boundaries, moments, how many, survived, seconds."""
    return request.config.stash[_TRIED]


@pytest.fixture
def dice(request):
    """Random moments that can be had again: the seed is printed at the end."""
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


def _readable(path):
    """pytest's folders are the user's own; QEMU runs as another one."""
    path.chmod(0o755)
    return path
