"""A rollout is killed at every step and resumed, and ends as if nothing had happened."""

from contextlib import suppress
from datetime import date

import pytest

from devvm.domain.errors import UsageError
from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import State
from devvm.domain.rollout.state import VmState as Step
from devvm.operations.rollout import control, store
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.rollout.engine import Clock, Rollout
from devvm.operations.rollout.store import RolloutLog
from tests.support.fleet_world import NEW, FleetWorld
from tests.support.world import RELEASE, Killed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Skip fsync: only processes die here, not the host."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


class MortalLog(RolloutLog):
    """A log whose process can be killed just before or just after an event is written."""

    def __init__(self, folder, host):
        super().__init__(folder)
        self._host = host

    def append(self, event, *, durable=True):
        if event.what != "phase":
            self._host.step(f"before {event.what}")
        super().append(event, durable=durable)
        if event.what != "phase":
            self._host.step(f"after {event.what}")


def carrier(world, log):
    mortal = MortalLog(world.state.rollouts / log.id, world.host)
    return Rollout(
        services=world.services, log=mortal, by="ann", messenger=world.messenger,
        clock=Clock(now=world.time.now, sleep=world.time.sleep),
    )  # fmt: skip


def prepared(folder, *, bad=(), rebuild=False):
    world = FleetWorld(folder)
    names = world.fleet(4, off=("dev004",))
    for name in names:
        world.write(name, "home/notes", f"of {name}")
    for name in bad:
        world.provisioner.failing[name] = "personalise"
    world.host.calls.clear()
    return world, Terms(release=NEW, canary=2, waves=("100%",), parallel=2, rebuild=rebuild)


def start(world, terms):
    plan, _ = rollout_plan.make(world.services, terms, by="ann", today=date(2026, 11, 30))
    with control.started(world.services, plan, command="start") as log:
        carrier(world, log).carry_out()


def resume(world):
    world.again()
    world.host.dead = False
    logs = store.every(world.services)
    if not logs:
        return None
    try:
        with control.locked_rollout(world.services, None, command="resume") as log:
            rollout = carrier(world, log)
            rollout.carry_out()
            return rollout.ledger.record
    except UsageError:  # it had just ended
        return logs[-1].record()


def killed(tmp_path, *, every=1, **how):
    """Worlds in which the rollout was killed at a step, and its record after one resume."""
    number = 0
    while True:
        number += every
        world, terms = prepared(tmp_path / str(number), **how)
        world.host.fail_number, world.host.failure = number, Killed()
        try:
            start(world, terms)
        except Killed:
            record = resume(world)
            if record is not None:
                yield number, world, record
            continue
        if world.host.dead:  # killed in the last thread
            yield number, world, resume(world)
            continue
        return


@pytest.mark.parametrize("rebuild", [False, True])
def test_it_ends_with_all_vms_on_the_release(tmp_path, rebuild):
    tried = 0
    every = 2 if rebuild else 1  # test_update_vm kills a rebuild at every step
    for number, world, record in killed(tmp_path, every=every, rebuild=rebuild):
        tried += 1
        assert record.state is State.DONE, number
        found = {name: vm.state for name, vm in record.vms.items()}
        assert found == {
            "dev001": Step.DONE, "dev002": Step.DONE, "dev003": Step.DONE, "dev004": Step.DUE,
        }, (number, record)  # fmt: skip
        for name in ("dev001", "dev002", "dev003"):
            assert world.release_of(name) == NEW, (number, name)
            assert world.schema_of(name) == NEW, (number, name)
            assert world.vm(name).metadata.ready, (number, name)
            assert world.vm(name).metadata.restore_point == "", (number, name)
            assert world.read(name, "home/notes") == f"of {name}", (number, name)
            assert world.state.journal(name) is None
            assert record.vms[name].token, (number, name)
        done = [e.vm for e in store.find(world.services, None).events()
                if e.vm and e.what == Step.DONE]  # fmt: skip
        assert sorted(done) == ["dev001", "dev002", "dev003"], number
    assert tried > 30


def test_a_bad_release_ends_with_all_vms_as_they_were(tmp_path):
    tried = 0
    for number, world, record in killed(tmp_path, bad=("dev002",)):
        tried += 1
        assert record.state is State.FAILED, number
        for name in record.vms:
            assert world.release_of(name) == RELEASE, (number, name)
            assert world.schema_of(name) == RELEASE, (number, name)
            assert world.vm(name).metadata.restore_point == "", (number, name)
            assert world.read(name, "home/notes") == f"of {name}", (number, name)
            assert world.state.journal(name) is None
    assert tried > 30


def test_rolling_back_killed_at_each_step_ends_with_all_as_they_were(tmp_path):
    number, tried = 0, 0
    while True:
        number += 1
        world, terms = prepared(tmp_path / str(number))
        start(world, terms)
        world.write("dev001", "home/notes", "later")
        world.host.calls.clear()
        world.host.fail_number, world.host.failure = number, Killed()
        try:
            control.roll_back(world.services, None, lambda log, w=world: carrier(w, log),
                               command="back")  # fmt: skip
        except Killed:
            tried += 1
            world.again()
            world.host.dead = False
            with suppress(UsageError):  # it had just ended
                control.roll_back(world.services, None, lambda log, w=world: carrier(w, log),
                                   command="back")  # fmt: skip
            record = store.find(world.services, None).record()
            assert record.state is State.ROLLED_BACK
            for name in record.vms:
                assert world.release_of(name) == RELEASE, (number, name)
                assert world.schema_of(name) == RELEASE, (number, name)
            assert world.read("dev001", "home/notes") == "later", number
            continue
        break
    assert tried > 40
