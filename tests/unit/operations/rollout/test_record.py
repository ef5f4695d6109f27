"""The record of a rollout after the host died or the disk was full."""

import json
import resource
from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError
from devvm.domain.rollout.state import Event, State
from devvm.operations.rollout import control, store
from tests.unit.operations.rollout.rolling import carrier, resume, start

TORN = Event(at=store.now(), by="jürgen", what="note", facts={"text": "für dev001: später"})
LINE = json.dumps(TORN.data(), ensure_ascii=False).encode() + b"\n"
TORN_AT = {
    "in a key": 5,
    "in a character": LINE.index("ü".encode()) + 1,
    "before its last brace": -2,
    "in zeroes": 0,
}


def events_file(world, log):
    return world.state.rollouts / log.id / "events.jsonl"


def add(world, log, content):
    """Append what another writer, or a host that died while writing, leaves in the record."""
    with events_file(world, log).open("ab") as file:
        file.write(content)


@pytest.mark.parametrize("where", TORN_AT)
def test_a_torn_line_of_the_record_is_no_event_wherever_it_was_cut(world, where):
    world.fleet(2)
    rollout = start(world, lambda r: r.interrupted.set())
    before = rollout.log.events()
    add(world, rollout.log, LINE[: TORN_AT[where]] or bytes(64))
    assert rollout.log.events() == before
    resumed = resume(world)
    assert resumed.ledger.state is State.DONE
    assert resumed.log.events()[: len(before)] == before
    assert resumed.log.record() == resumed.ledger.record
    add(world, rollout.log, LINE[: TORN_AT[where]] or bytes(64))
    control.roll_back(world.services, None, lambda log: carrier(world, log), command="rollback")
    assert control.records(world.services)[0].state is State.ROLLED_BACK


def test_an_event_that_lacks_only_the_end_of_its_line_is_one(world):
    world.fleet(2)
    log = start(world).log
    add(world, log, LINE[:-1])
    assert log.events()[-1] == TORN
    log.append(replace(TORN, by="ann"))
    assert log.events()[-2:] == [TORN, replace(TORN, by="ann")]


@pytest.mark.parametrize("line", [b"{}", b"[]", b"null", b"7"])
def test_a_line_that_is_whole_and_no_event_is_said(world, line):
    world.fleet(1)
    log = start(world).log
    add(world, log, line + b"\n")
    with pytest.raises(OperationError, match=r"events\.jsonl can't be read"):
        log.events()


def test_an_event_that_there_is_no_room_for_is_said_and_no_part_of_it_counts(world):
    world.fleet(1)
    log = start(world).log
    before = log.events()
    path = events_file(world, log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OperationError, match="can't be written"):
            log.append(TORN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.events() == before
    log.append(TORN)
    assert log.events() == [*before, TORN]
