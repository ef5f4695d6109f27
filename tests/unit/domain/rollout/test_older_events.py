"""Records of rollouts from before events had fields besides their sentences."""

import json
from datetime import date, datetime, timedelta

import pytest

from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import POSTPONED, Cause, State, VmState
from devvm.operations.rollout import control
from devvm.operations.rollout import plan as rollout_plan
from tests.support.fleet_world import NEW, FleetWorld

AT = "2026-11-30T12:00:00.000+00:00"


@pytest.fixture
def log(tmp_path):
    world = FleetWorld(tmp_path)
    world.fleet(2)
    terms = Terms(release=NEW)
    plan, _ = rollout_plan.make(world.services, terms, by="ann", today=date(2026, 11, 30))
    with control.started(world.services, plan, command="rollout start") as log:
        yield log


def wrote(log, **line):
    path = log._folder / "events.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": AT, "by": "ann", **line}) + "\n")
    return log.record()


@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("somebody asked to pause it", Cause.REQUEST),
        ("interrupted", Cause.INTERRUPT),
        ("no canary could be changed, so nothing is known of the release yet", None),
        ("the host has only 20 MiB of memory left", None),
    ],
)
def test_why_it_was_paused(log, why, cause):
    record = wrote(log, what="paused", facts={"why": why})
    assert (record.state, record.why, record.cause) == (State.PAUSED, why, cause)


def test_quiet_hours_that_are_waited_for(log):
    at = datetime.fromisoformat(AT).astimezone()  # the sentence has the time on the host's clock
    for hours in (2, 20):
        until = (at + timedelta(hours=hours)).replace(second=0, microsecond=0)
        title = f"quiet hours until {until:%H:%M}"
        vm = wrote(log, what="phase", vm="dev001", facts={"title": title}).vms["dev001"]
        assert datetime.fromisoformat(vm.quiet_until) == until
        assert vm.phase == title
    vm = wrote(log, what="phase", vm="dev001", facts={"title": "Applying nginx"}).vms["dev001"]
    assert vm.quiet_until == ""
    strange = {"title": "quiet hours until 99:99"}
    assert wrote(log, what="phase", vm="dev001", facts=strange).vms["dev001"].quiet_until == ""


def test_what_failed(log):
    why = f"dev001 could not be brought to {NEW}: task 'x: y' failed\nbecause"
    vm = wrote(log, what="failed", vm="dev001", facts={"why": why}).vms["dev001"]
    assert (vm.state, vm.why, vm.failure) == (VmState.FAILED, why, "task 'x: y' failed")
    vm = wrote(log, what="stuck", vm="dev001", facts={"why": "the disk is full"}).vms["dev001"]
    assert (vm.state, vm.failure) == (VmState.STUCK, "")


def test_what_is_written_now_is_left_as_it_is(log):
    facts = {"why": "somebody asked to pause it", "cause": "host"}
    assert wrote(log, what="paused", facts=facts).cause is Cause.HOST
    assert wrote(log, what="paused", facts={"why": "x", "cause": "of tomorrow"}).cause is None


def test_the_last_wave_had_another_name(log):
    assert wrote(log, what="wave", facts={"name": "put off before"}).wave == POSTPONED
