"""What others do to a VM before a rollout reaches it."""

import threading
from datetime import date

import pytest

from devvm.domain.errors import LockedError, OperationError
from devvm.domain.rollout.state import State
from devvm.domain.rollout.state import VmState as Step
from devvm.operations.rollout import deferred, pins
from devvm.operations.vm import lifecycle, trash
from tests.support.fleet_world import NEW
from tests.support.world import RELEASE
from tests.unit.operations.rollout.rolling import TODAY, pin, somebody_is_quicker, start, states


def test_a_vm_that_somebody_else_changes_is_waited_for(world):
    names = world.fleet(1)
    release = threading.Event()
    held = threading.Event()

    def hold():
        with world.state.lock(names[0], "rebuild"):
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    slept = world.time.sleep
    world.time.sleep = lambda seconds: (release.set(), thread.join(10), slept(seconds))
    rollout = start(world)
    assert rollout.ledger.state is State.DONE
    assert world.release_of(names[0]) == NEW


def test_nobody_changes_a_vm_while_a_rollout_looks_which_way_it_can_go(world):
    names = world.fleet(2)
    refused = []

    def other():
        with pytest.raises(LockedError) as caught:
            pin(world, names[0])
        refused.append(caught.value)

    world.verifier.meanwhile = other
    rollout = start(world)
    assert refused
    assert states(rollout)[names[0]] is Step.DONE


def test_a_vm_that_is_pinned_when_the_rollout_gets_its_lock_is_left(world):
    names = world.fleet(2)
    somebody_is_quicker(world, names[1], lambda: pin(world, names[1]))
    rollout = start(world)
    assert states(rollout)[names[1]] is Step.LEFT
    assert world.release_of(names[1]) == RELEASE
    assert rollout.ledger.vm(names[1]).tries == 0


def test_a_pin_set_just_before_a_vm_is_noted_as_due_stays_and_keeps_it(world):
    world.fleet(2, off=("dev002",))
    somebody_is_quicker(world, "dev002", lambda: pin(world, "dev002"))
    rollout = start(world)
    facts = world.vm("dev002").metadata
    assert (facts.pin_reason, facts.update_to) == ("demo", "")
    assert states(rollout)["dev002"] is Step.LEFT
    assert "demo" in rollout.ledger.vm("dev002").why


def test_a_vm_that_starts_before_it_is_noted_as_due_is_changed_at_once(world):
    world.fleet(2, off=("dev002",))
    run = world.run("start dev002")
    somebody_is_quicker(world, "dev002", lambda: lifecycle.start(world.services, "dev002", run))
    rollout = start(world)
    assert states(rollout)["dev002"] is Step.DONE
    assert world.vm("dev002").metadata.update_to == ""


def test_a_vm_that_is_destroyed_before_it_is_noted_as_due_is_left(world):
    world.fleet(2, off=("dev002",))
    run = world.run("destroy dev002")
    somebody_is_quicker(world, "dev002", lambda: trash.destroy(world.services, "dev002", run))
    assert states(start(world))["dev002"] is Step.LEFT


def test_a_pin_set_while_a_rollout_ends_stays(world):
    """The end clears the due update, and nothing else."""
    names = world.fleet(3, off=("dev002",))
    world.verifier.failing.add((names[2], NEW))

    def later(rollout):
        note = rollout.note

        def noting(what, *arguments, **facts):
            note(what, *arguments, **facts)
            if what == State.STOPPING:
                somebody_is_quicker(world, "dev002", lambda: pin(world, "dev002"))

        rollout.note = noting

    rollout = start(world, later, canary=3, parallel=3)
    assert Step.DUE in {event.what for event in rollout.log.events()}
    facts = world.vm("dev002").metadata
    assert (facts.pin_reason, facts.update_to) == ("demo", "")
    assert states(rollout)["dev002"] is Step.LEFT


def test_a_pin_set_after_a_due_update_failed_stays(world):
    world.fleet(2, off=("dev002",))
    start(world)
    world.provisioner.failing["dev002"] = "update"
    lifecycle.start(world.services, "dev002", world.run("start dev002"))
    note = world.reporter.note

    def noting(text):
        note(text)
        if "is back on" in text:  # the last thing the update does
            somebody_is_quicker(world, "dev002", lambda: pin(world, "dev002"))

    world.reporter.note = noting
    with pytest.raises(OperationError):
        deferred.bring(world.services, "dev002", world.run("start dev002"), by="joe")
    facts = world.vm("dev002").metadata
    assert (facts.pin_reason, facts.update_to) == ("demo", "")


def test_a_vm_that_is_gone_is_left(world):
    names = world.fleet(3)

    def destroy(rollout):
        fqdn = world.vm(names[2]).fqdn
        world.services.domains.remove(fqdn)

    rollout = start(world, destroy)
    assert rollout.ledger.state is State.DONE
    assert states(rollout)[names[2]] is Step.LEFT


def test_a_pin_that_is_set_later_keeps_a_vm_from_what_it_is_due_for(world):
    world.fleet(2, off=("dev002",))
    start(world)
    pins.pin(world.services, "dev002", until=date(2026, 12, 1), reason="demo", by="ann",
             today=TODAY, command="pin")  # fmt: skip
    assert deferred.due(world.vm("dev002"), TODAY) is None
    assert deferred.due(world.vm("dev002"), date(2026, 12, 2)) == NEW
