"""Rollouts on a fleet in memory, run directly."""

from datetime import date

from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import VmState as Step
from devvm.operations.rollout import control, pins
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.rollout.engine import Clock, Rollout
from tests.support.fleet_world import NEW

TODAY = date(2026, 11, 30)


def carrier(world, log):
    return Rollout(
        services=world.services, log=log, by="ann", messenger=world.messenger,
        clock=Clock(now=world.time.now, sleep=world.time.sleep),
    )  # fmt: skip


def start(world, prepare=lambda _rollout: None, **terms):
    terms = Terms(**{"release": NEW, **terms})
    plan, _ = rollout_plan.make(world.services, terms, by="ann", today=TODAY)
    with control.started(world.services, plan, command="rollout start") as log:
        rollout = carrier(world, log)
        prepare(rollout)
        rollout.carry_out()
    return rollout


def resume(world, **more):
    with control.locked_rollout(world.services, None, command="rollout resume", **more) as log:
        rollout = carrier(world, log)
        rollout.carry_out()
    return rollout


def pin(world, name):
    pins.pin(world.services, name, until=date(2026, 12, 1), reason="demo", by="ann",
             today=TODAY, command="pin")  # fmt: skip


def somebody_is_quicker(world, name, do):
    """Do something just before the rollout takes a VM's lock."""
    lock = world.state.lock

    def locking(which, command):
        if which == name:
            world.state.lock = lock
            do()
        return lock(which, command)

    world.state.lock = locking


def ask_after_two(rollout, request):
    """Make a request as soon as two VMs are done."""
    note = rollout.note

    def noting(*arguments, **facts):
        note(*arguments, **facts)
        if rollout.ledger.record.counts()[Step.DONE] == 2:
            rollout.log.ask_for(request)

    rollout.note = noting


def states(rollout):
    return {name: vm.state for name, vm in rollout.ledger.record.vms.items()}
