"""`devvm rollout status`, `list`, `log`: output, also while a rollout is in progress."""

import json
import re
import threading

import pytest

from devvm.domain.rollout.state import Event
from devvm.operations.rollout import store
from tests.support.fleet_world import NEW
from tests.unit.cli.documented import documented, documented_for
from tests.unit.cli.rollout.rollouts import START, killed


def test_list(cli, world):
    assert "no rollouts yet" in cli("rollout", "list").stderr
    world.fleet(2)
    cli(*START)
    cli("rollout", "rollback", "--yes")
    cli(*START)
    data = cli("rollout", "list", "--json").json
    assert set(data) == documented_for("rollout list")
    assert set(data["rollouts"][0]) == documented("Rollout") - {"waves"}
    assert [one["id"] for one in data["rollouts"]] == ["r2", "r1"]
    rows = cli("rollout", "list").stdout.splitlines()
    assert re.match(rf"r2 +{NEW} +done +jane +", rows[1])
    assert rows[2].endswith("2: 2 back")


def test_the_audit_log(cli, world):
    world.fleet(2)
    cli(*START)
    data = cli("rollout", "log", "--json").json
    assert set(data) == documented_for("rollout log")
    assert set(data["events"][0]) == documented("Event")
    assert data["events"][-1]["what"] == "done"
    assert "phase" not in {event["what"] for event in data["events"]}
    everything = cli("rollout", "log", "r1", "--all", "--json").json["events"]
    assert "phase" in {event["what"] for event in everything}
    of_one = cli("rollout", "log", "--vm", "dev002", "--json").json["events"]
    assert {event["vm"] for event in of_one} == {"dev002"}
    text = cli("rollout", "log").stdout
    assert re.search(r"jane +dev001 +updating +converge in place: 1 role changes", text)
    assert re.search(r"jane +dev001 +done +1 of 1 checks pass, ", text)
    refused = cli("rollout", "log", "--vm", "dev009")
    assert refused.code == 2
    assert "dev009 is not in the rollout r1" in refused.stderr


@pytest.mark.parametrize("kept", [0.5, "in a character"])
def test_every_command_reads_a_record_that_a_dying_host_has_torn(cli, world, kept):
    path = world.state.rollouts / killed(world).id / "events.jsonl"

    def tear():
        event = Event(at=store.now(), by="ann", what="note", facts={"text": "für später"})
        line = json.dumps(event.data(), ensure_ascii=False).encode()
        cut = line.index("ü".encode()) + 1 if kept == "in a character" else int(len(line) * kept)
        with path.open("ab") as file:
            file.write(line[:cut])

    def look():
        for command in ("status", "list", "log", "log --all", "log --vm dev001"):
            for argv in (command.split(), [*command.split(), "--json"]):
                assert cli("rollout", *argv).code == 0, argv
        followed = cli("rollout", "status", "r1", "--follow", "--json").stdout.splitlines()
        everything = cli("rollout", "log", "r1", "--all", "--json").json["events"]
        assert [json.loads(line) for line in followed] == everything
        report = cli("fleet", "report", "--json").json
        assert report["rollouts"][-1]["id"] == "r1"

    tear()
    look()
    for verb, code in (("pause", 0), ("resume", 0), ("start", 2), ("rollback", 0), ("start", 0)):
        more = {"start": ["latest", "--yes"], "rollback": ["--yes"]}.get(verb, [])
        done = cli("rollout", verb, *more)
        assert done.code == code, done.stderr
        assert "events.jsonl" not in done.stderr
        tear()
        look()


def test_status_of_many_shows_what_matters_and_counts_the_others(cli, world):
    world.fleet(40)
    world.provisioner.failing["dev020"] = "update"
    cli(*START, "--max-failures", "1", "--wave", "100%")
    text = cli("rollout", "status").stdout
    table = text.split("\n\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["VM", "dev020", "39"]
    assert len(cli("rollout", "status", "--all").stdout.splitlines()) > 40


@pytest.fixture
def followed(world, monkeypatch):
    """A rollout in progress, which ends once somebody has looked at it."""
    log = killed(world)
    held, looked = threading.Event(), threading.Event()
    events = store.RolloutLog.events

    def looking(self):
        found = events(self)
        looked.set()
        return found

    def process():
        with store.held(world.services, "rollout start"):
            held.set()
            looked.wait(10)
            facts = {"checks": "5 of 5", "seconds": 1.0}
            at = store.now()
            log.append(Event(at=at, by="ann", what="done", vm="dev001", facts=facts))
            log.append(Event(at=at, by="ann", what="done"))

    thread = threading.Thread(target=process)
    thread.start()
    assert held.wait(10)
    monkeypatch.setattr(store.RolloutLog, "events", looking)
    yield
    looked.set()
    thread.join(10)


def test_follow_shows_what_is_written_until_it_ends(cli, followed):
    done = cli("rollout", "status", "--follow")
    assert done.code == 0
    assert "r1: running: 1 updating, 2 waiting" in done.stderr
    assert "dev001: done in 1.0 s, 5 of 5 checks pass\nr1: done\n" in done.stderr
    assert "Rollout r1: done" in done.stdout


def test_follow_prints_events_as_they_are_written(cli, followed):
    done = cli("rollout", "status", "--follow", "--json")
    assert (done.code, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["what"] for event in events] == [
        "running", "wave", "updating", "phase", "done", "done",
    ]  # fmt: skip
    assert set(events[0]) == documented("Event")


def test_follow_of_one_that_was_killed_ends(cli, world):
    killed(world)
    done = cli("rollout", "status", "--follow", "--json")
    assert done.code == 1
    assert len(done.stdout.splitlines()) == 4
    assert "was killed. Next: devvm rollout resume" in done.stderr
