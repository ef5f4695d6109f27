"""A rollout is killed and resumed, and ends as if nothing had happened.

Its process dies, with its process group, at every boundary of every phase: the plan, an event in
the record, a restore point, Ansible, a disk exchange. The first of two VMs is the canary. Each VM
ends on its release, or as it was, with all its data.
"""

import functools
import time

import pytest

from devvm.domain.rollout.state import State, VmState
from tests.kill.kill_tries import THINNED, between, chosen, each, killed, tell, text

pytestmark = pytest.mark.kill

USAGE = 2


class Case:
    """A rollout: where it begins, the command, and how it must end."""

    def __init__(self, fleet, kind):
        self.fleet, self.host, self.kind = fleet, fleet.host, kind
        self.options = {"bad_release": fleet.new} if kind == "refused" else {}
        back = kind == "back"
        self.baseline = fleet.on_new if back else fleet.on_old
        verb = {"rebuild": "rollout-rebuild", "back": "rollout-rollback"}.get(kind, "rollout")
        self.argv = (verb,) if back else (verb, fleet.new, *fleet.names)
        self.state = {"refused": State.FAILED, "back": State.ROLLED_BACK}.get(kind, State.DONE)
        canary, other = fleet.names
        self.fates = {
            "converge": dict.fromkeys(fleet.names, (fleet.updated,)),
            "rebuild": dict.fromkeys(fleet.names, (fleet.rebuilt,)),
            "refused": {canary: (fleet.went_back,), other: (fleet.untouched,)},
            "back": dict.fromkeys(fleet.names, (fleet.rolled_back,)),
        }[kind]

    def wrong(self, state=None, fates=None):
        """What is not as it must be."""
        return self.fleet.wrong(state or self.state, fates or self.fates, self.baseline)

    def resume(self):
        """Do what the user would do next; a rollout that was never recorded is started again."""
        again = ("rollout-rollback",) if self.kind == "back" else ("rollout-resume",)
        if self.fleet.record() is None:
            again = self.argv
        fine = (0,) if self.wrong() else (0, USAGE)  # it had just ended
        done = self.host.run(*again, **self.options)
        return [] if done.code in fine else [f"exit code {done.code}: {done.output}"]

    def start_vms(self):
        """Start every VM; return what went wrong."""
        ended = {name: self.host.run("start", name) for name in self.fleet.names}
        return [f"start {name}: {done.output}" for name, done in ended.items() if done.code]


@pytest.fixture(scope="module")
def uninterrupted(corners):
    """The boundaries of a rollout that isn't killed, which must succeed. Run once."""

    @functools.cache
    def boundaries(kind):
        case = Case(corners[0].fleet, kind)
        case.host.restore(case.baseline)
        passed, done = case.host.boundaries(*case.argv, **case.options)
        assert done.code == 0, done.output
        wrong = case.wrong()
        assert not wrong, (wrong, done.output)
        return passed

    return boundaries


@pytest.mark.parametrize("kind", ["converge", "rebuild", "refused", "back"])
def test_it_is_resumed(kind, uninterrupted, corners, tried, dice):
    def after(case):
        return case.resume() + case.wrong()

    _try(uninterrupted, corners, tried, dice, f"rollout, {kind}", after, kind, inside=True)


def test_another_command_comes_first(uninterrupted, corners, tried, dice):
    """The owner of the VM being changed runs a command before the rollout is resumed."""

    def after(case):
        return case.start_vms() + case.resume() + case.wrong()

    _try(uninterrupted, corners, tried, dice, "rollout, then start", after)


def test_it_is_aborted_instead(uninterrupted, corners, tried, dice):
    """A VM in the middle of its update goes back; updated ones stay."""

    def after(case):
        record = case.fleet.record()
        if record is None or record.ended:
            return case.resume() + case.wrong()
        done = case.host.run("rollout-abort")
        fleet = case.fleet
        there = [vm.name for vm in record.vms.values() if vm.state == VmState.DONE]
        fates = {
            name: (fleet.updated,) if name in there else (fleet.hardly_begun, fleet.half_way_back)
            for name in fleet.names
        }
        wrong = case.wrong(State.ABORTED, fates)
        return wrong if done.code == 0 else [*wrong, done.output]

    _try(uninterrupted, corners, tried, dice, "rollout, then abort", after)


def test_the_host_is_restarted(uninterrupted, corners, tried, dice):
    """Nothing runs any more; people start their VMs, then the rollout is resumed."""

    def after(case):
        case.host.power_cut()
        try:
            return case.start_vms() + case.resume() + case.wrong()
        finally:
            case.host.libvirt.volumes.ensure()
            case.host.libvirt.network.ensure()

    _try(uninterrupted, corners, tried, dice, "rollout, host restarted", after)


def _try(uninterrupted, corners, tried, dice, what, after, kind="converge", *, inside=False):
    """Kill a rollout at many moments; `after` continues, and returns what is wrong then."""
    passed, start = uninterrupted(kind), time.monotonic()
    # There are two VMs, so each kind of moment occurs twice.
    moments = chosen(passed, 2 * THINNED, dice)
    if inside:
        moments += between(passed, dice)

    def try_one(corner, moment):
        case = Case(corner.fleet, kind)
        wrong = killed(
            case.host, moment, lambda: corner.host.restore(case.baseline), case.argv,
            **case.options,
        )  # fmt: skip
        return wrong or after(case)

    failures = each(corners, moments, try_one, passed)
    tell(tried, what, passed, len(moments), failures, start)
    assert not failures, text(what, failures)
