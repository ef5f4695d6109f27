"""libvirtd is killed and started again in the middle of an operation, or the whole host is.

The operation ends well or with one clear error; the same command, typed again, ends right.
"""

import functools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from devvm.fleet.record import State
from tests.kill.kill_host import await_that
from tests.kill.kill_states import problems
from tests.kill.kill_tries import Moment, each, killed
from tests.kill.own_host import start_daemons

pytestmark = pytest.mark.kill

_PID_FILE = Path("/run/libvirtd.pid")
#: The operations, and where on their way: parts of it.
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
#: Operations after which the VM runs whatever was before.
STARTING = ("create", "rebuild", "recover")


@pytest.mark.parametrize("operation", MOMENTS)
def test_libvirtd_dies(operation, uninterrupted, corners, tried):
    host, scenarios = corners[0].host, corners[0].scenarios
    scenario, passed = scenarios.named(operation), uninterrupted(operation)
    start, failures = time.monotonic(), []
    for part in MOMENTS[operation]:
        point = round(len(passed) * part)
        host.restore(scenario.baseline)
        try:
            wrong = _try(host, scenarios, scenario, point)
        finally:
            for corner in corners:
                corner.host.connect()
        if wrong:
            failures.append(f"{passed[point]['boundary']}: {'; '.join(wrong)}")
    _tell(tried, f"{operation}, libvirtd killed", passed, operation, failures, start)


@pytest.mark.parametrize("part", [1 / 4, 2 / 4, 3 / 4])
def test_libvirtd_dies_in_a_rollout(part, corners, tried):
    """It pauses or fails, with a word; gone on with or rolled back, no VM is left between."""
    host, fleet, start = corners[0].host, corners[0].fleet, time.monotonic()
    argv = ("rollout", fleet.new, *fleet.names)
    host.restore(fleet.on_old)
    passed, _ = host.boundaries(*argv)
    point = round(len(passed) * part)
    host.restore(fleet.on_old)
    try:
        done = _without_daemon(host, argv, point)
    finally:
        for corner in corners:
            corner.host.connect()
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
    failures += fleet.wrong(expected, dict.fromkeys(fleet.names, fates), fleet.on_old)
    _row(tried, f"rollout, libvirtd killed, {part:.0%}", passed, 1, failures, start)
    assert not failures, (passed[point]["boundary"], failures)


def _after(fleet, command, failures):
    done = fleet.host.run(command)
    if done.code:
        failures.append(f"{command}: {done.output}")
    return fleet.record()


@pytest.mark.parametrize("operation", MOMENTS)
def test_the_host_is_restarted(operation, uninterrupted, corners, tried):
    """All processes are gone at once; neither VMs nor the network nor the pool run afterwards."""
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
            host.hypervisor.ensure_pool()
            host.hypervisor.ensure_network()
        wrong = [] if done.code == code else [f"exit code {done.code}: {done.output}"]
        state = scenario.after
        if operation not in STARTING:  # the person starts it, as after any restart
            now = {vm.name: str(vm.state) for vm in host.vms()}
            vms = {name: (now.get(name, was), number) for name, (was, number) in state.vms.items()}
            state = replace(state, vms=vms)
        return wrong + problems(host, state, scenarios.goldens, scenario.baseline)

    failures = each(corners, moments, try_one, passed)
    _tell(tried, f"{operation}, host restarted", passed, operation, failures, start)


def _tell(tried, what, passed, operation, failures, start):
    _row(tried, what, passed, len(MOMENTS[operation]), failures, start)
    assert not failures, "\n".join(failures)


def _row(tried, what, passed, count, failures, start):
    seconds = round(time.monotonic() - start)
    tried.append((what, len(passed), "", count, max(0, count - len(failures)), seconds))


def _without_daemon(host, argv, point):
    """A command that libvirtd dies in the middle of; when it was noticed, it is there again."""
    reached, go = host.scratch / "reached", host.scratch / "go"
    for file in (reached, go):
        file.unlink(missing_ok=True)
    command = host.start(*argv, hold_at=point, reached=reached, go=go)
    await_that(reached.exists, f"{argv} reached boundary {point}")
    try:
        _kill()
        go.touch()
        command.ended(1.5)
    finally:
        start_daemons()
    done = command.finish()
    host.connect()
    return done


def _try(host, scenarios, scenario, point):
    done = _without_daemon(host, scenario.argv, point)
    found = []
    if done.code and not done.error:
        found.append(f"no clear error: {done.output}")
    if done.code:
        code = _code_of_again(host, scenarios, scenario)
        again = host.run(*scenario.argv)
        if again.code != code:
            found.append(f"again: exit code {again.code}: {again.output}")
    return found + problems(host, scenario.after, scenarios.goldens, scenario.baseline)


def _code_of_again(host, scenarios, scenario):
    """How the same command ends: of one that was at its end it may be said that nothing is left."""
    ended = not host.journals() and not problems(host, scenario.after, scenarios.goldens)
    return scenario.again[0] if ended else 0


def _kill():
    """Kill libvirtd, and see it dead: one that is dying still holds its sockets."""
    pid = int(_PID_FILE.read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "libvirtd\n"
    os.kill(pid, signal.SIGKILL)
    await_that(lambda: not Path(f"/proc/{pid}").exists(), "libvirtd is dead")
