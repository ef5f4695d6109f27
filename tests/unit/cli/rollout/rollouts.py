"""Rollouts on a fleet in memory, for the tests of `devvm rollout ...`."""

import os
import signal
import threading
import time
from datetime import date

from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import Event, State, VmState
from devvm.operations.rollout import control, store
from devvm.operations.rollout import plan as rollout_plan
from tests.support.fleet_world import NEW

START = ("rollout", "start", "latest", "--yes")


def states(data):
    return {vm["name"]: vm["state"] for wave in data["waves"] for vm in wave["vms"]}


def killed(world, count=3):
    """A rollout whose process was killed after the canary."""
    world.fleet(count)
    terms = Terms(release=NEW)
    plan, _ = rollout_plan.make(world.services, terms, by="ann", today=date(2026, 11, 30))
    with control.started(world.services, plan, command="rollout start") as log:
        for what, vm, facts in (
            (State.RUNNING, None, {}), ("wave", None, {"name": "canary"}),
            (VmState.UPDATING, "dev001", {"way": "converge", "reason": "1 role changes"}),
            ("phase", "dev001", {"title": "Applying nginx"}),
        ):  # fmt: skip
            at = store.now()
            log.append(Event(at=at, by="ann", what=str(what), vm=vm, facts=facts))
    return log


def interrupting(world, name, times=1):
    """Press Ctrl-C while a VM is being changed, and give the rollout time to notice."""
    real = world.provisioner.apply
    sent = threading.Event()

    def apply(playbook, target, **more):
        if target.alias.startswith(name) and not sent.is_set():
            sent.set()
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.15)
        return real(playbook, target, **more)

    world.provisioner.apply = apply
