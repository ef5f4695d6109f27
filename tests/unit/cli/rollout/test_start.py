"""`devvm rollout start`: questions, output, failures, interrupts, hooks, and exit codes."""

import os
import re
import signal
import threading
import time

from devvm import wiring
from devvm.cli import formatting
from devvm.cli.output import Output
from devvm.domain.errors import OperationError
from devvm.domain.rollout.state import VmState
from devvm.operations.release import releases
from devvm.operations.rollout import notify, pins, store
from devvm.operations.vm import lifecycle, trash
from tests.support.fleet_world import NEW
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for
from tests.unit.cli.rollout.rollouts import START, interrupting, killed, states


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
    """Answer yes, after doing something while the question is shown."""

    def answer(_output, _prompt):
        do()
        return "y"

    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", answer)


def test_the_plan_that_was_agreed_on_is_carried_out(cli, world, monkeypatch):
    """VMs that are created, destroyed, started or pinned meanwhile don't change the plan."""
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
    cli("rollout", "resume")  # the only canary is gone, so it pauses
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
    assert "dev001: done" not in resumed.stderr  # already shown
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
    monkeypatch.setattr(process, "kill_commands_of_other_threads", lambda: kills.append(1))
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
