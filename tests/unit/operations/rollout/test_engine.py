"""A rollout to a fleet in memory: waves, gate, owners' requests, control."""

import json
from dataclasses import replace
from datetime import date
from functools import partial

import pytest

from devvm.domain.errors import LockedError, NotFoundError, OperationError, UsageError
from devvm.domain.rollout.state import Cause, State
from devvm.domain.rollout.state import VmState as Step
from devvm.domain.vm import VmState
from devvm.operations.doctor import doctor
from devvm.operations.rollout import control, deferred, pins, store
from devvm.operations.vm import lifecycle
from tests.support.fleet_world import NEW
from tests.support.memory_state import Killed
from tests.support.world import RELEASE
from tests.unit.operations.rollout.rolling import (
    TODAY,
    ask_after_two,
    carrier,
    resume,
    start,
    states,
)


def test_all_vms_reach_the_release_wave_by_wave(world):
    names = world.fleet(7)
    rollout = start(world, canary=1, waves=("50%", "100%"), parallel=3)
    assert rollout.ledger.state is State.DONE
    assert [(w.name, len(w.vms)) for w in rollout.plan.waves] == [
        ("canary", 1), ("wave 1", 3), ("wave 2", 3),
    ]  # fmt: skip
    assert set(states(rollout).values()) == {Step.DONE}
    assert not [note for note in rollout.ledger.record.notes if "converge" in note]
    assert {world.release_of(name) for name in names} == {NEW}
    order = [event.vm for event in rollout.log.events() if event.what == Step.DONE]
    assert order[0] == rollout.plan.waves[0].vms[0]
    assert set(order[1:4]) == set(rollout.plan.waves[1].vms)


def test_what_happened_is_told_and_written_down(world):
    world.fleet(2)
    rollout = start(world)
    assert [m.kind for m in world.sender.messages] == ["start", "wave", "wave", "done"]
    assert json.loads(world.sender.messages[-1].to_json())["release"] == NEW
    events = rollout.log.events()
    assert {event.by for event in events} == {"ann"}
    begun = next(e for e in events if e.what == Step.UPDATING)
    assert begun.facts["way"] == "converge"
    assert begun.facts["reason"]
    assert next(e for e in events if e.what == Step.DONE).facts["checks"] == "1 of 1"
    assert ("dev001", "tell", f"devvm: this VM is now on release {NEW}") in world.shell.told


def test_a_canary_that_fails_stops_all_and_is_back(world):
    names = world.fleet(5)
    world.verifier.failing.add((names[0], NEW))
    rollout = start(world, canary=2, parallel=2)
    assert rollout.ledger.state is State.FAILED
    assert {world.release_of(name) for name in names} == {RELEASE}
    assert {world.schema_of(name) for name in names} == {RELEASE}
    found = states(rollout)
    assert found[names[0]] is Step.FAILED
    assert found[names[1]] is Step.BACK
    assert {found[name] for name in names[2:]} == {Step.WAITING}
    failed = rollout.ledger.vm(names[0])
    assert "unit/nginx.service: it is not active" in failed.why
    assert failed.log
    assert failed.failure
    assert failed.why.startswith(f"{names[0]} could not be updated to {NEW}: {failed.failure}")
    told = next(m for m in world.sender.messages if m.kind == "failure")
    assert names[0] in told.text


def test_a_wave_bears_as_many_failures_as_it_may(world):
    names = world.fleet(6)
    for name in names[1:3]:
        world.provisioner.failing[name] = "update"
    rollout = start(world, canary=1, waves=("100%",), max_failures=2)
    assert rollout.ledger.state is State.DONE
    assert states(rollout)[names[1]] is Step.FAILED
    assert world.release_of(names[5]) == NEW
    assert world.release_of(names[1]) == RELEASE


def test_a_wave_with_more_failures_than_that_goes_back_and_earlier_waves_stay(world):
    names = world.fleet(8)
    for name in names[4:6]:
        world.provisioner.failing[name] = "update"
    rollout = start(world, canary=1, waves=("50%", "100%"), max_failures=1, parallel=1)
    assert rollout.ledger.state is State.FAILED
    assert {world.release_of(name) for name in names[:4]} == {NEW}
    assert {world.release_of(name) for name in names[4:]} == {RELEASE}


def test_roll_back_brings_every_vm_to_its_own_previous_state(world):
    names = world.fleet(4)
    for name in names:
        world.write(name, "home/notes", f"of {name}")
    start(world)
    world.write(names[0], "home/notes", "later")
    with control.locked_rollout(world.services, None, command="x", ended=True) as log:
        rollout = carrier(world, log)
        assert rollout.roll_back("asked") is State.ROLLED_BACK
    assert {world.release_of(name) for name in names} == {RELEASE}
    assert {world.schema_of(name) for name in names} == {RELEASE}
    assert world.read(names[0], "home/notes") == "later"
    assert set(states(rollout).values()) == {Step.BACK}
    with pytest.raises(UsageError, match="already been rolled back"):
        control.roll_back(
            world.services, None, lambda log: carrier(world, log), command="rollout rollback"
        )


def test_a_vm_that_went_on_meanwhile_is_not_taken_back(world):
    names = world.fleet(2)
    start(world)
    vm = world.vm(names[0])
    other = "2026.12.01-bbbbbbbbbbbb"
    facts = replace(vm.metadata, release=other)
    world.services.domains.set_metadata(vm.uuid, facts)
    with control.locked_rollout(world.services, None, command="x", ended=True) as log:
        rollout = carrier(world, log)
        rollout.roll_back("asked")
    assert world.release_of(names[0]) == other
    assert other in rollout.ledger.vm(names[0]).why


def test_a_pinned_vm_is_left(world):
    names = world.fleet(3)
    pins.pin(world.services, names[1], until=date(2026, 12, 1), reason="demo", by="ann",
             today=date(2026, 11, 30), command="pin")  # fmt: skip
    rollout = start(world)
    assert states(rollout)[names[1]] is Step.LEFT
    assert "demo" in rollout.ledger.vm(names[1]).why
    assert world.release_of(names[1]) == RELEASE


def test_a_vm_that_does_not_run_is_brought_there_when_it_starts(world):
    names = world.fleet(3, off=("dev002",))
    rollout = start(world, canary=1)
    assert states(rollout)["dev002"] is Step.DUE
    assert world.vm("dev002").state is VmState.SHUTOFF
    assert rollout.ledger.state is State.DONE
    vm = lifecycle.start(world.services, "dev002", world.run("start dev002"))
    assert deferred.due(vm, TODAY) == NEW
    deferred.bring(world.services, "dev002", world.run("start dev002"), by="joe")
    assert {world.release_of(name) for name in names} == {NEW}
    record = rollout.log.record()
    assert record.vms["dev002"].state is Step.DONE
    assert rollout.log.events()[-1].by == "joe"


def test_one_that_fails_when_it_starts_is_as_it_was_and_not_tried_again(world):
    world.fleet(2, off=("dev002",))
    rollout = start(world)
    world.provisioner.failing["dev002"] = "update"
    lifecycle.start(world.services, "dev002", world.run("start dev002"))
    with pytest.raises(OperationError):
        deferred.bring(world.services, "dev002", world.run("start dev002"), by="joe")
    assert deferred.due(world.vm("dev002"), TODAY) is None
    assert world.release_of("dev002") == RELEASE
    failed = rollout.log.record().vms["dev002"]
    assert (failed.state, failed.failure) == (Step.FAILED, "task 'update' failed")


def test_a_failed_rollout_leaves_nothing_due(world):
    names = world.fleet(3, off=("dev002",))
    world.verifier.failing.add((names[2], NEW))
    rollout = start(world, canary=3, parallel=3)
    assert Step.DUE in {event.what for event in rollout.log.events()}
    assert deferred.due(world.vm("dev002"), TODAY) is None


def test_no_canary_that_could_be_changed_pauses_it(world):
    world.fleet(2, off=("dev001", "dev002"))
    rollout = start(world)
    assert rollout.ledger.state is State.PAUSED
    assert "no canary" in rollout.ledger.record.why
    assert rollout.ledger.record.cause is Cause.CANARY
    assert resume(world).ledger.state is State.DONE


SESSION = "session\tann\tpts/0\t20\n"


def test_who_is_active_is_asked_and_may_say_now(world):
    names = world.fleet(1)
    world.shell.people[names[0]] = SESSION
    world.shell.answers[names[0]] = "now"
    rollout = start(world, ask_minutes=10)
    asked = next(e for e in rollout.log.events() if e.what == Step.ASKED)
    assert "ann" in asked.facts["why"]
    assert asked.facts["deadline"]
    assert any(verb == "ask" for _, verb, _ in world.shell.told)
    assert world.release_of(names[0]) == NEW


def test_who_does_not_answer_is_waited_for_until_the_deadline(world):
    names = world.fleet(1)
    world.shell.people[names[0]] = SESSION
    begun = world.time.at
    start(world, ask_minutes=10)
    assert world.release_of(names[0]) == NEW
    assert (world.time.at - begun).total_seconds() >= 600


def test_who_says_later_is_asked_again_after_the_last_wave_and_then_left(world):
    names = world.fleet(3)
    world.shell.people[names[1]] = SESSION
    world.shell.answers[names[1]] = "later"
    rollout = start(world)
    events = [e.what for e in rollout.log.events() if e.vm == names[1] and e.what in set(Step)]
    assert events == [Step.ASKED, Step.LATER, Step.ASKED, Step.LEFT]
    assert rollout.ledger.state is State.DONE
    assert world.release_of(names[1]) == RELEASE


def test_quiet_hours_are_waited_for(world):
    names = world.fleet(1)
    hours = {"quiet_hours": ("daily 11:00-14:00",)}
    settings = world.config.rollout.model_copy(update=hours)
    config = world.config.model_copy(update={"rollout": settings})
    world.services = replace(world.services, config=config)
    rollout = start(world)
    assert world.release_of(names[0]) == NEW
    assert world.time.at.hour == 14
    waits = [e.facts for e in rollout.log.events() if "quiet_until" in e.facts]
    assert [facts["quiet_until"] for facts in waits] == ["2026-11-30T14:00:00+00:00"]
    assert rollout.ledger.vm(names[0]).quiet_until == ""


def test_a_rebuild_does_not_take_work_out_of_sight(world):
    names = world.fleet(2)
    world.on_roots[names[1]] = "repo\t/root/tool\t1\t2\t0\tno\n"
    rollout = start(world, rebuild=True)
    assert states(rollout)[names[1]] is Step.LEFT
    assert "/root/tool" in rollout.ledger.vm(names[1]).why


def test_asked_to_pause_it_pauses_and_goes_on(world):
    world.fleet(6)

    rollout = start(world, partial(ask_after_two, request="pause"), parallel=1)
    assert rollout.ledger.state is State.PAUSED
    assert rollout.log.record().cause is Cause.REQUEST
    assert 2 <= rollout.ledger.record.counts()[Step.DONE] <= 3
    rollout = resume(world)
    assert rollout.ledger.state is State.DONE
    tries = [vm.tries for vm in rollout.ledger.record.vms.values()]
    assert tries == [1] * 6


def test_asked_to_abort_it_ends_and_what_is_done_stays(world):
    world.fleet(6, off=("dev006",))

    rollout = start(world, partial(ask_after_two, request="abort"), parallel=1)
    assert rollout.ledger.state is State.ABORTED
    with pytest.raises(UsageError, match="has ended"):
        resume(world)
    assert rollout.ledger.record.counts()[Step.DONE] >= 2
    assert rollout.ledger.record.counts()[Step.WAITING] >= 2


def test_interrupted_it_pauses_when_no_vm_is_half_way(world):
    world.fleet(4)
    rollout = start(world, lambda r: r.interrupted.set())
    assert rollout.ledger.state is State.PAUSED
    assert rollout.ledger.record.cause is Cause.INTERRUPT
    resumed = resume(world)
    assert (resumed.ledger.state, resumed.ledger.record.cause) == (State.DONE, None)


def test_a_host_without_room_pauses_it(world):
    names = world.fleet(2)
    world.host.free = 0
    rollout = start(world)
    assert rollout.ledger.state is State.PAUSED
    assert "GiB needed" in rollout.ledger.record.why
    assert rollout.ledger.record.cause is Cause.HOST
    assert {world.release_of(name) for name in names} == {RELEASE}
    world.host.free = 100 * 1024**3
    assert resume(world).ledger.state is State.DONE


def test_two_rollouts_at_once_are_refused(world):
    world.fleet(1)
    with (
        store.held(world.services, "rollout start"),
        pytest.raises(LockedError, match="a rollout is in progress"),
    ):
        start(world)


def test_a_new_rollout_waits_for_the_end_of_the_last(world):
    world.fleet(2)
    start(world, lambda r: r.interrupted.set())
    with pytest.raises(UsageError, match="has not finished"):
        start(world)


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"release": "2026.12.01-cccccccccccc"}, NotFoundError),
        ({"only": ("nobody",)}, NotFoundError),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_put_on_record(world, terms, error):
    world.fleet(1)
    with pytest.raises(error):
        start(world, **terms)
    assert store.every(world.services) == []


def test_nothing_to_do_is_said(world):
    world.fleet(1)
    start(world)
    with pytest.raises(UsageError, match="every VM is already on"):
        start(world)


def test_a_vm_that_was_killed_half_way_and_is_off_is_gone_on_with(world):
    world.fleet(1)
    world.host.fail_at, world.host.failure = "converge", Killed()
    with pytest.raises(Killed):
        start(world)
    world.again()
    world.host.dead = False
    assert [f.kind for f in doctor.examine(world.services).findings] == ["half-way"]
    world.services.domains.shutdown(world.vm("dev001"), timeout=0, force=True)
    assert resume(world).ledger.state is State.DONE
    assert world.release_of("dev001") == NEW
