"""libvirtd or the whole host is killed and restarted in the middle of an operation.

The operation succeeds or fails with one clear error; the same command, run again, succeeds.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devvm.domain.rollout.state import State
from tests.kill.kill_host import await_that
from tests.kill.kill_states import problems
from tests.kill.kill_tries import Moment, each, killed
from tests.kill.own_host import start_daemons

pytestmark = pytest.mark.kill

_PID_FILE = Path("/run/libvirtd.pid")
#: The operations, and how far into each to interrupt it, as fractions.
MOMENTS = {
    "create": (1 / 3, 2 / 3),
    "rebuild": (1 / 3, 2 / 3),
    "destroy": (1 / 3, 2 / 3),
    "recover": (1 / 3, 2 / 3),
    "snapshot-restore": (1 / 3, 2 / 3),
    "snapshot-create": (1 / 2,),
    "snapshot-delete": (1 / 2,),
    "clone": (1 / 2,),
    "resize": (1 / 2,),
}
#: Operations after which the VM always runs.
STARTING = ("create", "rebuild", "recover")


def test_libvirtd_dies(uninterrupted, corners, tried):
    start = time.monotonic()
    tries = [
        Try(operation, round(len(uninterrupted(operation)) * part), _scenario, _typed_again)
        for operation in MOMENTS
        for part in MOMENTS[operation]
    ]
    _tell(tried, "libvirtd killed", len(tries), _without_daemon(corners, tries), start)


def test_libvirtd_dies_in_a_rollout(corners, tried):
    """It pauses or fails with a message; resumed or rolled back, no VM is left in between."""
    start, (host, fleet) = time.monotonic(), (corners[0].host, corners[0].fleet)
    host.restore(fleet.on_old)
    passed, _ = host.boundaries("rollout", fleet.new, *fleet.names)
    tries = [
        Try("rollout", round(len(passed) * part), _rollout, _resumed)
        for part in (1 / 4, 2 / 4, 3 / 4)
    ]
    _tell(tried, "rollout, libvirtd killed", len(tries), _without_daemon(corners, tries), start)


@dataclass(frozen=True)
class Try:
    """A command during which libvirtd dies.

    Attributes:
        operation: Its name.
        point: The boundary at which it waits until libvirtd is dead.
        prepare: Restores the state the command begins in; returns the arguments.
        ended: Continues after a failed command; returns what is wrong.
    """

    operation: str
    point: int
    prepare: Callable
    ended: Callable


def _without_daemon(corners, tries):
    """Try several at once, one per corner, as they share one libvirtd; return what went wrong."""
    failures = []
    with ThreadPoolExecutor(len(corners)) as pool:
        for first in range(0, len(tries), len(corners)):
            batch = list(zip(corners, tries[first:], strict=False))
            commands = list(pool.map(_begun, *zip(*batch, strict=True)))
            try:
                for corner, one in batch:
                    what = f"{one.operation} reached boundary {one.point}"
                    await_that(_file(corner, "reached").exists, what)
                _kill()
            finally:
                for corner, _ in batch:
                    _file(corner, "go").touch()
            try:
                deadline = time.monotonic() + 1.5  # time to notice that libvirtd is gone
                for command in commands:
                    command.ended(max(0, deadline - time.monotonic()))
            finally:
                start_daemons()
            ended = [command.finish() for command in commands]
            for corner in corners:
                corner.host.connect()
            wrong = pool.map(lambda one, done: one[1].ended(*one, done), batch, ended)
            failures += [
                f"{one.operation}, at {one.point}: {'; '.join(found)}"
                for (_, one), found in zip(batch, wrong, strict=True)
                if found
            ]
    return failures


def _begun(corner, one):
    """Start a command that waits where libvirtd is to die."""
    argv = one.prepare(corner, one)
    for name in ("reached", "go"):
        _file(corner, name).unlink(missing_ok=True)
    reached, go = _file(corner, "reached"), _file(corner, "go")
    return corner.host.start(*argv, hold_at=one.point, reached=reached, go=go)


def _file(corner, name):
    return corner.host.scratch / name


def _scenario(corner, one):
    scenario = corner.scenarios.named(one.operation)
    corner.host.restore(scenario.baseline)
    return scenario.argv


def _typed_again(corner, one, done):
    host, scenarios = corner.host, corner.scenarios
    scenario, found = scenarios.named(one.operation), []
    if done.code and not done.error:
        found.append(f"no clear error: {done.output}")
    if done.code:
        code = _code_of_again(host, scenarios, scenario)
        again = host.run(*scenario.argv)
        if again.code != code:
            found.append(f"again: exit code {again.code}: {again.output}")
    return found + problems(host, scenario.after, scenarios.goldens, scenario.baseline)


def _rollout(corner, _):
    fleet = corner.fleet
    corner.host.restore(fleet.on_old)
    return ("rollout", fleet.new, *fleet.names)


def _resumed(corner, _, done):
    fleet = corner.fleet
    failures = [done.output] if done.code and not done.error else []
    record = fleet.record()
    if not record.ended:
        record = _after(fleet, "rollout-resume", failures)
    if record.state == State.FAILED:
        record = _after(fleet, "rollout-rollback", failures)
    fates = (fleet.updated,)
    if record.state != State.DONE:
        fates = (fleet.hardly_begun, fleet.half_way_back)
    expected = record.state if record.ended else "an end"
    return failures + fleet.wrong(expected, dict.fromkeys(fleet.names, fates), fleet.on_old)


def _after(fleet, command, failures):
    done = fleet.host.run(command)
    if done.code:
        failures.append(f"{command}: {done.output}")
    return fleet.record()


@pytest.mark.parametrize("operation", MOMENTS)
def test_the_host_is_restarted(operation, uninterrupted, corners, tried):
    """All processes are killed at once; afterwards neither VMs nor network nor pool are running."""
    passed, start = uninterrupted(operation), time.monotonic()
    moments = [Moment(round(len(passed) * part)) for part in MOMENTS[operation]]

    def try_one(corner, moment):
        host, scenarios = corner.host, corner.scenarios
        scenario = scenarios.named(operation)
        restore = functools.partial(host.restore, scenario.baseline)
        if wrong := killed(host, moment, restore, scenario.argv):
            return wrong
        host.power_cut()
        code = _code_of_again(host, scenarios, scenario)
        try:
            done = host.run(*scenario.argv)
        finally:
            host.libvirt.volumes.ensure()
            host.libvirt.network.ensure()
        wrong = [] if done.code == code else [f"exit code {done.code}: {done.output}"]
        state = scenario.after
        if operation not in STARTING:  # the user starts it, as after any restart
            now = {vm.name: str(vm.state) for vm in host.vms()}
            vms = {name: (now.get(name, was), number) for name, (was, number) in state.vms.items()}
            state = replace(state, vms=vms)
        return wrong + problems(host, state, scenarios.goldens, scenario.baseline)

    failures = each(corners, moments, try_one, passed)
    _tell(tried, f"{operation}, host restarted", len(moments), failures, start)


def _tell(tried, what, count, failures, start):
    seconds = round(time.monotonic() - start)
    tried.append((what, "", "", count, count - len(failures), seconds))
    assert not failures, "\n".join(failures)


def _code_of_again(host, scenarios, scenario):
    """The exit code of the same command; if it was complete, it may report that nothing is left."""
    ended = not host.journals() and not problems(host, scenario.after, scenarios.goldens)
    return scenario.again[0] if ended else 0


def _kill():
    """Kill libvirtd, and wait until it is dead: while dying, it still holds its sockets."""
    pid = int(_PID_FILE.read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "libvirtd\n"
    os.kill(pid, signal.SIGKILL)
    await_that(lambda: not Path(f"/proc/{pid}").exists(), "libvirtd is dead")
