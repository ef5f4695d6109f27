"""Kill any operation at any point and run it again: it works.

Every operation is killed, with its whole process group and no chance to clean up, at every
boundary: before and after each call through a port that may change something, and each write to
the state folder. Then the same command, or another one, is run, and the host must look as if
nothing had happened: the operation done, the data unchanged, nothing left over.

If nothing on the host changes between two boundaries, they leave the same state, so only one of
them is tried. Each run tries a part of these states, chosen by the seed. `DEVVM_KILL_FULL=1` tries
every boundary.
"""

import time

import pytest

from tests.kill.kill_states import problems
from tests.kill.kill_tries import PART, THINNED, between, chosen, each, killed, tell, text

pytestmark = pytest.mark.kill

OPERATIONS = (
    "create", "rebuild", "rebuild-refused", "rebuild-off", "destroy", "recover",
    "snapshot-restore", "snapshot-create", "snapshot-delete", "clone", "resize", "recover-item",
    "destroy-purge", "trash-empty",
)  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_same_command_again(operation, uninterrupted, corners, tried, dice):
    passed = uninterrupted(operation)
    every = corners[0].scenarios.named(operation).every
    moments = chosen(passed, PART if every else THINNED, dice) + between(passed, dice)
    start = time.monotonic()

    def try_one(corner, moment):
        scenario = corner.scenarios.named(operation)
        options = dict.fromkeys(scenario.options, True)
        return _killed(corner, scenario, moment, **options) or _again(corner, scenario)

    failures = each(corners, moments, try_one, passed)
    tell(tried, operation, passed, len(moments), failures, start)
    assert not failures, text(operation, failures)


@pytest.mark.parametrize("other", ["start", "snapshot-create"])
@pytest.mark.parametrize(
    "operation", ["create", "rebuild", "destroy", "recover", "snapshot-restore"]
)
def test_another_command_first(operation, other, uninterrupted, corners, tried, dice):
    passed = uninterrupted(operation)
    start, moments = time.monotonic(), chosen(passed, THINNED, dice)

    def try_one(corner, moment):
        scenario = corner.scenarios.named(operation)
        if wrong := _killed(corner, scenario, moment):
            return wrong
        label = ("other",) if other == "snapshot-create" else ()
        done = corner.host.run(other, corner.scenarios.name, *label)
        return _settled(corner, scenario, other, done)

    failures = each(corners, moments, try_one, passed)
    tell(tried, f"{operation}, then {other}", passed, len(moments), failures, start)
    assert not failures, text(f"{operation}, then {other}", failures)


def _killed(corner, scenario, moment, **options):
    """Kill the operation at a moment; return what went wrong."""
    host = corner.host
    return killed(host, moment, lambda: host.restore(scenario.baseline), scenario.argv, **options)


def _again(corner, scenario):
    """Run the same command again; return what is wrong then."""
    host, scenarios = corner.host, corner.scenarios
    ended = not host.journals() and not problems(host, scenario.after, scenarios.goldens)
    code, state = scenario.again if ended else (0, scenario.after)
    done = host.run(*scenario.argv)
    found = [] if done.code == code else [f"exit code {done.code}, expected {code}: {done.output}"]
    return found + problems(host, state, scenarios.goldens, scenario.baseline)


def _settled(corner, scenario, other, done):
    """What is wrong after another command, which may find the operation done or undone."""
    host, scenarios = corner.host, corner.scenarios
    tried = []
    for code, state in scenario.others:
        expected = state
        if other == "snapshot-create" and code == 0:
            expected = _with_snapshot(corner, state)
        found = problems(host, expected, scenarios.goldens, scenario.baseline)
        if done.code != code:
            found.append(f"exit code {done.code}, expected {code}: {done.output}")
        if not found:
            return []
        tried.append(found)
    return min(tried, key=len)


def _with_snapshot(corner, state):
    """The state after `snapshot create`, which doesn't start a VM that was off."""
    running = {vm.name: str(vm.state) for vm in corner.host.vms()}
    vms = {name: (running.get(name, was), number) for name, (was, number) in state.vms.items()}
    return type(state)(vms, state.kept, state.contents, state.data_gib).also_kept(
        "snapshot", "other", like=corner.scenarios.name
    )
