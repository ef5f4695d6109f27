"""A rollout to 500 VMs, with some failures."""

from dataclasses import replace
from datetime import date

import pytest

from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import State
from devvm.domain.rollout.state import VmState as Step
from devvm.operations.rollout import control
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.rollout.engine import Clock, Rollout
from tests.support.fleet_world import NEW, FleetWorld
from tests.support.world import RELEASE


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


def roll_out(world, **terms):
    terms = Terms(release=NEW, **terms)
    plan, _ = rollout_plan.make(world.services, terms, by="ann", today=date(2026, 11, 30))
    with control.started(world.services, plan, command="x") as log:
        rollout = Rollout(
            services=world.services, log=log, by="ann", messenger=world.messenger,
            clock=Clock(now=world.time.now, sleep=world.time.sleep),
        )  # fmt: skip
        rollout.carry_out()
    return rollout


def test_500_vms_each_end_as_they_should(tmp_path):
    world = FleetWorld(tmp_path, watch_disks=False)
    off = {f"dev{number:03d}" for number in range(7, 501, 25)}
    names = world.fleet(500, off=off)
    bad = dict.fromkeys(names[90::60], "update")
    world.provisioner.failing.update(bad)
    pinned = set(names[20::100]) - off
    for name in pinned:
        vm = world.vm(name)
        facts = replace(vm.metadata, pinned_until="2026-12-24", pinned_by="b", pin_reason="demo")
        world.services.domains.set_metadata(vm.uuid, facts)
    world.host.calls.clear()
    rollout = roll_out(world, canary=5, waves=("10%", "50%", "100%"), max_failures=5, parallel=8)
    record = rollout.ledger.record
    assert record.state is State.DONE
    for name in names:
        state = record.vms[name].state
        if name in bad:
            assert (state, world.release_of(name)) == (Step.FAILED, RELEASE)
        elif name in pinned:
            assert (state, world.release_of(name)) == (Step.LEFT, RELEASE)
        elif name in off:
            assert state is Step.DUE
        else:
            assert (state, world.release_of(name)) == (Step.DONE, NEW), name
    done = [e.vm for e in rollout.log.events() if e.vm and e.what == Step.DONE]
    assert len(done) == len(set(done)) == record.counts()[Step.DONE]


def test_each_vm_costs_the_same_however_many_there_are(tmp_path):
    """Counts changes to the host, which take the time; bench/rollout.py measures the rest."""
    costs = {}
    for count in (20, 80):
        world = FleetWorld(tmp_path / str(count), watch_disks=False)
        world.fleet(count)
        rollout = roll_out(world, canary=1, parallel=4)
        events = [e for e in rollout.log.events() if e.vm]
        costs[count] = len(world.host.calls) / count, len(events) / count
    assert costs[20] == pytest.approx(costs[80], rel=0.05)
