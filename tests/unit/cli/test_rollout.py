"""`devvm rollout ...` on a fleet in memory: what is shown, asked, refused, and exit codes."""

import json
import os
import re
import signal
import threading
import time
from datetime import date

import pytest

from devvm import wiring
from devvm.cli import formatting
from devvm.cli.output import Output
from devvm.domain.errors import OperationError
from devvm.domain.rollout.plan import Terms
from devvm.domain.rollout.state import Event, State, VmState
from devvm.operations.release import releases
from devvm.operations.rollout import control, notify, pins, store
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.vm import lifecycle, trash
from tests.support.fleet_world import NEW
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for

START = ("rollout", "start", "latest", "--yes")


def states(data):
    return {vm["name"]: vm["state"] for wave in data["waves"] for vm in wave["vms"]}


# Looking ahead -------------------------------------------------------------------------------


def test_a_plan_says_who_goes_when_how_and_what_is_noticed(cli, world):
    world.fleet(4, off=("dev003",))
    data = cli("rollout", "plan", "latest", "--json").json
    assert set(data) == documented_for("rollout plan")
    assert set(data["terms"]) == documented("Terms")
    assert set(data["waves"][0]["vms"][0]) == documented("Planned")
    assert data["release"] == NEW
    assert [len(wave["vms"]) for wave in data["waves"]] == [1, 1, 2]
    text = cli("rollout", "plan", NEW).stdout
    for part in (
        f"{NEW} for 4 VMs", "nginx: http2 on", "canary: 1 VM", "dev001 (ann)", RELEASE,
        "converge in place: 1 role changes, which needs no new root",
        "Services of nginx may restart; the VM itself restarts only if it has to be rebuilt.",
        "VMs that differ from their own release,",
        "not running: updated at its next start",
    ):  # fmt: skip
        assert part in text
    assert not store.every(world.services)


def test_a_plan_for_many_names_some_and_counts_the_others(cli, world):
    world.fleet(60)
    short = cli("rollout", "plan", "latest", "--wave", "100%")
    assert "dev013 (ann) and 47 more" in short.stdout
    assert "--all" in short.stderr
    assert len(short.stdout.splitlines()) < 30
    everything = cli("rollout", "plan", "latest", "--all").stdout
    assert all(f"dev{number:03d} (ann)" in everything for number in range(1, 61))
    waves = cli("rollout", "plan", "latest", "--json").json["waves"]
    assert sum(len(wave["vms"]) for wave in waves) == 60


def test_a_plan_file_and_options_before_it(cli, world, tmp_path):
    world.fleet(6)
    file = tmp_path / "plan.yml"
    file.write_text(
        f"release: {NEW}\ncanary: 2\nwaves: [3, 100%]\nmax_failures: 1\nparallel: 3\n"
        "rebuild: true\nask_minutes: 0\nvms: [dev001, dev002, dev003, dev002]\n"
    )
    terms = cli("rollout", "plan", "--plan", str(file), "--json").json["terms"]
    assert terms == {
        "canary": 2, "waves": ["3", "100%"], "max_failures": 1, "parallel": 3, "rebuild": True,
        "ask_minutes": 0, "vms": ["dev001", "dev002", "dev003"],
    }  # fmt: skip
    options = (
        "--canary", "1", "--wave", "50%", "--max-failures", "0", "--no-rebuild", "--vm", "dev004",
        "--ask-minutes", "5", "--parallel", "1",
    )  # fmt: skip
    terms = cli("rollout", "plan", "--plan", str(file), *options, "--json").json["terms"]
    assert terms == {
        "canary": 1, "waves": ["50%"], "max_failures": 0, "parallel": 1, "rebuild": False,
        "ask_minutes": 5, "vms": ["dev004"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("canaries: 2\n", "canaries: unknown key"),
        ("canary: two\n", "canary: bad value"),
        ("canary: -1\n", "canary: bad value"),
        ("parallel: 65\n", "parallel: bad value"),
        ("rebuild: 1\n", "rebuild: bad value"),
        ("waves: 50%\n", "waves: bad value"),
        ("waves: []\n", "waves: bad value"),
        ("waves: [50%, 10%]\n", "do not grow"),
        ("waves: [1.5]\n", "waves.0: bad value"),
        ("vms: [1]\n", "vms.0: bad value"),
        ("1: 2\n", "bad value|unknown key"),
        ("release: nothing\n", "'nothing' is not a release"),
        ("- a\n", "is not a rollout plan"),
        ("", "is not a rollout plan"),
        ("a: [\n", "is not valid YAML"),
        ("a: \x00\n", "is not valid YAML"),
        ("!!python/object/apply:os.system [true]\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_a_plan_file_that_can_not_be_accepted(cli, world, tmp_path, content, said):
    world.fleet(1)
    file = tmp_path / "plan.yml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused = cli("rollout", "start", "--plan", str(file), "--yes")
    assert refused.code == 2
    assert re.search(said, refused.stderr)
    assert not store.every(world.services)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "which release?"),
        (("2026.12.01-cccccccccccc",), "is not on record"),
        (("newest",), "'newest' is not a release"),
        (("latest", "--wave", "0%"), "'0%' is not a wave size"),
        (("latest", "--wave", "many"), "'many' is not a wave size"),
        (("latest", "--wave", "50%", "--wave", "50%"), "do not grow"),
        (("latest", "--canary", "-1"), "--canary"),
        (("latest", "--parallel", "0"), "--parallel"),
        (("latest", "--parallel", "65"), "--parallel"),
        (("latest", "--max-failures", "x"), "--max-failures"),
        (("latest", "--ask-minutes", "2000"), "--ask-minutes"),
        (("latest", "--vm", "nobody"), "there is no VM nobody"),
        (("latest", "--plan", "/nowhere.yml"), "/nowhere.yml can't be read"),
        (("latest", "--plan", "/"), "/ can't be read"),
    ],
)
def test_bad_input_has_one_clear_line(cli, world, arguments, said):
    world.fleet(1)
    for verb in ("plan", "start"):
        refused = cli("rollout", verb, *arguments)
        assert refused.code == 2
        assert said in refused.stderr
        assert "Next: " in refused.stderr
    assert not store.every(world.services)


@pytest.mark.parametrize("verb", ["status", "log", "pause", "resume", "abort", "rollback"])
def test_a_rollout_that_is_not_there(cli, world, verb):
    assert "there has been no rollout yet" in cli("rollout", verb).stderr
    refused = cli("rollout", verb, "../x", "--json")
    assert refused.code == 2
    assert refused.json["error"]["code"] == "not-found"


# Carrying out --------------------------------------------------------------------------------


def test_start_brings_all_there(cli, world):
    world.fleet(3)
    done = cli(*START, "--json", "--quiet")
    assert (done.code, done.stderr) == (0, "")
    assert set(done.json) == documented_for("rollout start")
    data = done.json["rollout"]
    assert set(data) == documented("Rollout")
    assert set(data["waves"][0]["vms"][0]) == documented("VM in a rollout")
    assert set(data["counts"]) == {str(state) for state in VmState}
    assert (data["state"], data["counts"]["done"]) == ("done", 3)
    assert data["waves"][0]["vms"][0]["checks"] == "1 of 1"
    assert {world.release_of(name) for name in ("dev001", "dev002", "dev003")} == {NEW}


def test_start_in_text_tells_the_plan_each_change_and_what_next(cli, world):
    world.fleet(3, off=("dev003",))
    done = cli(*START)
    assert done.code == 0
    assert f"This rolls out {NEW} to 3 VMs: canary 1" in done.stderr
    assert "1 is not running and will be updated when it starts." in done.stderr
    assert re.search(r"^dev001: done in .* s, 1 of 1 checks pass$", done.stderr, re.MULTILINE)
    assert "dev003: due: not running; updated when it starts" in done.stderr
    assert "Applying" not in done.stderr
    assert "Rollout r1: done" in done.stdout
    assert "Updated at their next start: dev003" in done.stdout
    assert "devvm rollout rollback r1" in done.stdout


def test_start_has_to_be_confirmed(cli, world, monkeypatch):
    world.fleet(1)
    refused = cli("rollout", "start", "latest", "--canary", "1")
    assert refused.code == 2
    assert "Next: devvm rollout start latest --canary 1 --yes" in refused.stderr
    assert cli("rollout", "start", "latest", "--json").json["error"]["code"] == "usage"
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", lambda self, prompt: "n")
    assert cli("rollout", "start", "latest").code == 2
    assert not store.every(world.services)
    monkeypatch.setattr(Output, "ask", lambda self, prompt: "y")
    assert cli("rollout", "start", "latest").code == 0


def answering(monkeypatch, do):
    """A person who says yes, and what happens while they think."""

    def answer(_output, _prompt):
        do()
        return "y"

    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", answer)


def test_the_plan_that_was_agreed_on_is_carried_out(cli, world, monkeypatch):
    """VMs that come, go, start or are pinned meanwhile make no other plan of it."""
    world.fleet(5, off=("dev002",))
    agreed = cli("rollout", "plan", "latest", "--json").json["waves"]

    def meanwhile():
        world.give("dev000")
        trash.destroy(world.services, "dev001", world.run("destroy dev001"))
        lifecycle.start(world.services, "dev002", world.run("start dev002"))
        pins.pin(world.services, "dev004", until=formatting.today(), reason="demo", by="ann",
                 today=formatting.today(), command="pin dev004")  # fmt: skip

    answering(monkeypatch, meanwhile)
    cli("rollout", "start", "latest", "--json")
    cli("rollout", "resume")  # the only canary is gone, which pauses it
    data = cli("rollout", "status", "--json").json["rollout"]
    carried_out = [(wave["name"], [vm["name"] for vm in wave["vms"]]) for wave in data["waves"]]
    assert carried_out == [(w["name"], [vm["name"] for vm in w["vms"]]) for w in agreed]
    assert states(data) == {
        "dev001": "left", "dev002": "done", "dev003": "done", "dev004": "left", "dev005": "done",
    }  # fmt: skip
    assert world.release_of("dev000") == RELEASE


def test_a_release_that_is_retired_before_the_answer_goes_nowhere(cli, world, monkeypatch):
    world.fleet(1)
    run = world.run("release retire")
    answering(monkeypatch, lambda: releases.retire(world.services, NEW, run))
    refused = cli("rollout", "start", "latest")
    assert refused.code == 2
    assert f"the release {NEW} is retired" in refused.stderr
    assert not store.every(world.services)


def test_a_rollout_that_somebody_else_starts_before_the_answer_is_first(cli, world, monkeypatch):
    answering(monkeypatch, lambda: killed(world, count=0))
    world.fleet(3)
    refused = cli("rollout", "start", "latest")
    assert refused.code == 2
    assert "the rollout r1 has not finished" in refused.stderr
    assert len(store.every(world.services)) == 1


def test_quiet_shows_the_end_only(cli, world):
    world.fleet(1)
    done = cli(*START, "-q")
    assert done.stderr == ""
    assert "Rollout r1: done" in done.stdout


def test_a_failed_canary_ends_with_1_and_says_what_failed_with_the_log(cli, world):
    world.fleet(5)
    world.provisioner.failing["dev001"] = "update"
    done = cli(*START, "--canary", "2", "--parallel", "2")
    assert done.code == 1
    assert "Rollout r1: failed" in done.stdout
    assert "1 of the canary failed" in done.stdout
    assert f"dev001 could not be updated to {NEW}: task 'update' failed" in done.stdout
    log = re.search(r"Log: (\S+)", done.stdout)[1]
    assert "update-dev001" in log
    assert "Back on their own release: dev002" in done.stdout
    assert "Not touched: 3 VMs" in done.stdout
    assert {world.release_of(f"dev00{n}") for n in range(1, 6)} == {RELEASE}
    data = cli("rollout", "status", "--json").json["rollout"]
    assert states(data)["dev001"] == "failed"
    assert data["waves"][0]["vms"][0]["log"] == log


def test_a_failed_rollout_prints_itself_in_json_too(cli, world):
    world.fleet(2)
    world.provisioner.failing["dev001"] = "update"
    done = cli(*START, "--json")
    assert (done.code, done.json["rollout"]["state"]) == (1, "failed")


def test_of_many_reasons_the_first_are_shown(cli, world):
    world.fleet(1)
    world.provisioner.failing["dev001"] = "update"
    world.provisioner.details = "\n".join(f"reason {number}" for number in range(20))
    failed = cli(*START).stdout
    assert "  reason 5\n  and 14 more lines in the log\n" in failed


def test_a_wave_that_bears_a_failure_ends_well(cli, world):
    world.fleet(4)
    world.provisioner.failing["dev003"] = "update"
    done = cli(*START, "--wave", "100%", "--max-failures", "1")
    assert done.code == 0
    assert "dev003 failed, and is as it was before:" in done.stdout


def test_a_rollout_that_pauses_for_want_of_room_is_no_success(cli, world):
    world.fleet(2)
    world.host.free = 0
    done = cli(*START)
    assert done.code == 1
    assert "Rollout r1: paused" in done.stdout
    assert "GiB needed" in done.stdout
    assert "Next: devvm rollout resume, or: devvm rollout abort" in done.stdout
    world.host.free = 2**40
    assert cli("rollout", "resume").code == 0


def test_what_stops_the_engine_is_told_as_any_error(cli, world):
    world.fleet(1)
    with store.held(world.services, "rollout start"):
        refused = cli(*START)
    assert refused.code == 5
    assert "a rollout is in progress" in refused.stderr
    cli(*START)
    (world.state.rollouts / "r1" / "plan.json").write_text("{")
    broken = cli("rollout", "status")
    assert broken.code == 1
    assert "plan.json can't be read" in broken.stderr


def test_what_a_hook_complains_of_is_told(cli, world):
    world.fleet(1)
    world.messenger = notify.Messenger([Sender("irc", OperationError("no answer"))])
    assert "irc: no answer" in cli(*START).stderr


def interrupting(world, name, times=1):
    """Ctrl-C while a VM is changed; afterwards the rollout knows."""
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


def test_ctrl_c_pauses_when_no_vm_is_half_way_and_resume_goes_on(cli, world):
    world.fleet(4)
    interrupting(world, "dev001")
    stopped = cli(*START, "--parallel", "1")
    assert stopped.code == 130
    assert "Pausing once dev001 is done. To continue then: devvm rollout resume." in stopped.stderr
    assert "Interrupted: the rollout r1 is paused\n  1 done, 3 waiting\n" in stopped.stderr
    assert stopped.stderr.rstrip().endswith("Next: devvm rollout resume")
    assert cli("rollout", "status", "--json").json["rollout"]["state"] == "paused"
    refused = cli(*START)
    assert refused.code == 2
    assert "the rollout r1 has not finished: it is paused" in refused.stderr
    resumed = cli("rollout", "resume")
    assert resumed.code == 0
    assert "dev001: done" not in resumed.stderr  # told before
    assert "dev004: done" in resumed.stderr


def test_an_interrupted_start_has_one_object_on_stdout(cli, world):
    world.fleet(2)
    interrupting(world, "dev001")
    stopped = cli(*START, "--json")
    assert stopped.code == 130
    assert stopped.json["error"]["code"] == "interrupted"
    assert stopped.json["error"]["resolution"] == "devvm rollout resume"


def test_the_third_ctrl_c_stops_what_is_being_done(cli, world, monkeypatch):
    from devvm.system import process

    world.fleet(3)
    interrupting(world, "dev001", times=3)
    kills = []
    monkeypatch.setattr(process, "kill_those_of_other_threads", lambda: kills.append(1))
    stopped = cli(*START)
    assert stopped.code == 130
    assert kills == [1]
    assert "they are being restored" in stopped.stderr


def test_an_interrupted_rollback_is_finished_first(cli, world):
    world.fleet(2)
    cli(*START)
    real, sent = world.shell.transfer, threading.Event()

    def transfer(*arguments, **more):
        if not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.15)
        return real(*arguments, **more)

    world.shell.transfer = transfer
    done = cli("rollout", "rollback", "--yes")
    assert done.code == 0
    assert "The rollout is rolling back and finishes that first." in done.stderr
    assert {world.release_of(name) for name in ("dev001", "dev002")} == {RELEASE}


# Control -------------------------------------------------------------------------------------


def test_rollback_says_what_it_does_asks_and_brings_all_back(cli, world):
    world.fleet(3)
    cli(*START)
    refused = cli("rollout", "rollback")
    assert refused.code == 2
    for part in ("3 VMs", "databases", "homes and checkouts", "trash", "rollback --yes"):
        assert part in refused.stderr
    done = cli("rollout", "rollback", "r1", "--yes", "--json")
    assert (done.code, done.json["rollout"]["state"]) == (0, "rolled back")
    assert done.json["rollout"]["counts"]["back"] == 3
    again = cli("rollout", "rollback", "--yes")
    assert again.code == 2
    assert "has already been rolled back" in again.stderr


def test_one_that_can_not_be_brought_back_ends_with_1(cli, world):
    world.fleet(2)
    cli(*START)
    assert cli("trash", "empty", "dev001", "--purge", "dev001").code == 0
    done = cli("rollout", "rollback", "--yes")
    assert done.code == 1
    assert "dev001 stuck, and could not be restored:" in done.stdout
    assert "Not restored: dev001. Next: devvm doctor" in done.stdout


def killed(world, count=3):
    """A rollout whose process was killed when the canary was done."""
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


def test_a_killed_one_says_so_wherever_it_is_looked_at(cli, world):
    killed(world)
    text = cli("rollout", "status").stdout
    assert "Rollout r1: running" in text
    assert "Applying nginx" in text
    assert "was killed. Next: devvm rollout resume" in text
    paused = cli("rollout", "pause")
    assert (paused.code, paused.stdout) == (
        0, "r1 has no running process. Next: devvm rollout resume\n",
    )  # fmt: skip
    followed = cli("rollout", "status", "--follow")
    assert followed.code == 1
    assert "was killed" in followed.stdout
    assert cli("rollout", "resume", "--json").json["rollout"]["state"] == "done"


def test_abort_of_a_killed_one_ends_it(cli, world):
    killed(world)
    assert cli("rollout", "abort").code == 2
    done = cli("rollout", "abort", "--yes", "--json")
    assert done.code == 0
    assert set(done.json) == documented_for("rollout abort")
    assert (done.json["rollout"]["state"], done.json["asked"]) == ("aborted", False)
    for verb in ("abort", "pause", "resume"):
        refused = cli("rollout", verb)
        assert refused.code == 2
        assert "the rollout r1 has ended: it is aborted" in refused.stderr


def test_a_process_that_carries_it_out_is_asked(cli, world):
    log = killed(world)
    with store.held(world.services, "rollout start"):
        paused = cli("rollout", "pause", "--json")
        assert set(paused.json) == documented_for("rollout pause")
        assert paused.json["asked"] is True
        assert log.request() == "pause"
        said = cli("rollout", "pause").stdout
        assert said == (
            "r1 will pause as soon as dev001 is done. Next: devvm rollout status --follow\n"
        )
        assert "r1 will abort as soon as dev001 is done" in cli("rollout", "abort", "--yes").stdout
        assert log.request() == "abort"
        assert "rollout start" in cli("rollout", "status", "--json").json["holder"]
        assert cli("rollout", "resume").code == 5


def test_a_pause_that_was_asked_for_is_a_success(cli, world):
    world.fleet(3)
    real = world.provisioner.apply

    def apply(*arguments, **more):
        store.find(world.services, None).ask_for("pause")
        return real(*arguments, **more)

    world.provisioner.apply = apply
    done = cli(*START)
    assert done.code == 0
    assert "Rollout r1: paused" in done.stdout


# Looking back --------------------------------------------------------------------------------


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
    """A rollout that a process carries out, and ends when somebody has looked at it."""
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


# Hooks ---------------------------------------------------------------------------------------


class Sender:
    def __init__(self, name, error=None):
        self.name, self.error, self.sent = name, error, []

    def send(self, message):
        self.sent.append(message)
        if self.error:
            raise self.error


def configured(cli, tmp_path, text):
    file = tmp_path / ".config/devvm/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_hooks_are_tried(cli, world, monkeypatch, tmp_path):
    configured(cli, tmp_path, '[rollout.irc]\nserver = "irc.test"\n')
    sender = Sender("irc")
    monkeypatch.setattr(wiring, "messenger", lambda config: notify.Messenger([sender]))
    done = cli("rollout", "try-hooks")
    assert (done.code, done.stdout) == (0, "A test message was sent: irc\n")
    assert sender.sent[0].by == "jane"
    assert set(cli("rollout", "try-hooks", "--json").json) == documented_for("rollout try-hooks")
    sender.error = OperationError("no answer", details="refused")
    failed = cli("rollout", "try-hooks")
    assert (failed.code, failed.stdout) == (1, "irc: no answer: refused\n")


def test_hooks_of_which_none_is_configured(cli, world, monkeypatch):
    monkeypatch.setattr(wiring, "messenger", lambda config: notify.Messenger([]))
    done = cli("rollout", "try-hooks")
    assert done.code == 0
    assert "Nothing is configured" in done.stderr


# A VM that starts ----------------------------------------------------------------------------


@pytest.fixture
def due(cli, world):
    world.fleet(2, off=("dev002",))
    cli(*START)
    return world


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_vm_that_starts_is_brought_to_what_it_is_due_for(cli, due, verb):
    done = cli(verb, "dev002", "--json")
    assert (done.code, set(done.json)) == (0, documented_for(verb))
    assert done.json["update"] == {"release": NEW, "result": "done", "error": None}
    assert set(done.json["update"]) == documented("Due")
    assert done.json["vm"]["release"] == NEW
    assert f"dev002 was not running during the rollout r1; updating it to {NEW}" in done.stderr
    assert "converge: Applying nginx" in done.stderr
    assert cli("start", "dev002", "--json").json["update"] is None
    assert states(cli("rollout", "status", "--json").json["rollout"])["dev002"] == "done"


def test_a_vm_that_can_not_be_brought_there_is_started_all_the_same(cli, due):
    due.provisioner.failing["dev002"] = "update"
    done = cli("start", "dev002")
    assert (done.code, done.stdout) == (0, "dev002 is running\n")
    assert f"dev002 could not be updated to {NEW}: task 'update' failed" in done.stderr
    assert "It is running, as before the update." in done.stderr
    assert "Log: " in done.stderr
    assert due.release_of("dev002") == RELEASE


def test_the_error_of_that_is_in_json(cli, due):
    due.provisioner.failing["dev002"] = "update"
    done = cli("start", "dev002", "--json")
    assert (done.code, done.json["update"]["result"]) == (0, "failed")
    assert set(done.json["update"]["error"]) == documented("Error")
    assert done.json["vm"]["state"] == "running"


def test_a_vm_may_be_started_as_it_is(cli, due):
    done = cli("start", "dev002", "--no-update", "--json")
    assert done.json["update"] == {"release": NEW, "result": "put off", "error": None}
    assert due.release_of("dev002") == RELEASE
    assert "devvm update dev002" in done.stderr
