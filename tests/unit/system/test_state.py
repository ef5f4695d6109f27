"""The state folder: atomic files, locks that end with their holder, journals."""

import errno
import json
import multiprocessing
import os
import signal
import time

import pytest

from devvm.domain.errors import ExitCode, HostNotReadyError, LockedError, OperationError
from devvm.domain.run import PhaseRecord, RunRecord
from devvm.system.state import State, whole_file, write_atomic


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state")
    made.ensure()
    return made


def test_ensure_says_what_to_do_where_it_can_not_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostNotReadyError) as caught:
        State(tmp_path / "file" / "state").ensure()
    assert caught.value.resolution == "devvm setup"


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(HostNotReadyError, match="can't be written") as caught:
        write_atomic(path, "new")
    assert caught.value.details == "disk full"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_who_is_killed_while_it_writes_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, "old")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(os, "fsync", lambda _fd: os.kill(os.getpid(), signal.SIGKILL))
        write_atomic(path, "new")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_system_without_nameless_files(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    path = tmp_path / "f"
    for text in ("old", "new"):
        write_atomic(path, text, mode=0o640)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_second_holder_is_told_who_what_and_since_when(state):
    with (
        state.lock("dev1", "devvm create dev1"),
        pytest.raises(LockedError) as caught,
        state.lock("dev1", "devvm destroy dev1"),
    ):
        pass
    assert caught.value.exit_code is ExitCode.LOCKED
    assert f"process {os.getpid()}" in caught.value.details
    assert "devvm create dev1" in caught.value.details


def test_locks_are_per_vm(state):
    with state.lock("dev1", "x"), state.lock("dev2", "y"):
        pass


def test_a_lock_is_free_again_after_use(state):
    for _ in range(2):
        with state.lock("dev1", "x"):
            pass


def _hold(root, ready):
    with State(root).lock("dev1", "devvm create dev1"):
        ready.set()
        time.sleep(60)


def test_a_killed_holder_blocks_nobody(state):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(state.root, ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(LockedError), state.lock("dev1", "x"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    with state.lock("dev1", "x"):
        pass


def test_the_lock_of_a_vm_that_is_gone_is_deleted(state):
    state.vm("dev1").mkdir()
    with state.lock("dev1", "create"):
        assert "create" in state.holder("dev1")
    assert [path.name for path in state.locks.iterdir()] == ["dev1.lock"]
    with state.lock("dev1", "destroy"):
        state.forget("dev1")
    assert list(state.locks.iterdir()) == []
    assert state.holder("dev1") is None
    assert list(state.locks.iterdir()) == [], "to look at a lock makes none"


def _take_turns(root, turns, errors):
    state, inside = State(root), root / "inside"
    while turns.value > 0:
        try:
            with state.lock("dev1", "x"):  # deleted at the end of each turn
                try:
                    inside.touch(exist_ok=False)
                except FileExistsError:
                    errors.value += 1
                turns.value -= 1
                inside.unlink(missing_ok=True)
        except LockedError:
            pass


def test_a_lock_that_is_deleted_again_and_again_has_one_holder(state):
    context = multiprocessing.get_context("fork")
    turns, errors = context.Value("i", 1500), context.Value("i", 0)
    workers = [
        context.Process(target=_take_turns, args=(state.root, turns, errors)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert errors.value == 0
    assert turns.value <= 0
    assert list(state.locks.iterdir()) == []


def test_a_journal_is_there_until_it_is_closed(state):
    assert state.journal("dev1") is None
    state.open_journal("dev1", "create", {"uuid": "u"})
    journal = state.journal("dev1")
    assert (journal["operation"], journal["uuid"]) == ("create", "u")
    state.close_journal("dev1")
    assert state.journal("dev1") is None


def test_a_damaged_journal_is_said(state):
    state.open_journal("dev1", "create", {})
    (state.vm("dev1") / "journal.json").write_text("{")
    with pytest.raises(OperationError, match="can't be read"):
        state.journal("dev1")


def test_a_full_disk_is_said_and_holds_no_lock_up(state, monkeypatch):
    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    state.vm("dev1").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "pwrite", full)
    with state.lock("dev1", "destroy dev1"):
        with pytest.raises(OperationError, match="can't be written") as caught:
            state.open_journal("dev1", "destroy", {})
        with pytest.raises(LockedError), state.lock("dev1", "x"):
            pass
    assert "devvm trash list" in caught.value.resolution
    assert [path.name for path in state.vm("dev1").iterdir()] == []
    record = RunRecord(command="x", started_at="", seconds=1.0, result="done", phases=())
    state.add_run("dev1", record)
    assert state.runs("dev1") == []


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"runs": [{"x": 1}]}', '{"runs": 5}'])
def test_damaged_runs_are_said_and_do_not_stand_in_the_way_of_the_next(state, content):
    state.vm("dev1").mkdir()
    (state.vm("dev1") / "runs.json").write_text(content)
    with pytest.raises(OperationError, match="can't be read") as caught:
        state.runs("dev1")
    assert "runs.json" in caught.value.resolution
    state.add_run(
        "dev1", RunRecord(command="x", started_at="", seconds=1.0, result="done", phases=())
    )
    assert [run.command for run in state.runs("dev1")] == ["x"]


def test_runs_are_kept_and_bounded(state):
    state.vm("dev1").mkdir()
    for number in range(15):
        phase = PhaseRecord(name="boot", title="Boot", seconds=1.5, result="done")
        record = RunRecord(
            command=f"run {number}", started_at="t", seconds=2, result="done", phases=(phase,)
        )
        state.add_run("dev1", record)
    runs = state.runs("dev1")
    assert [r.command for r in runs] == [f"run {n}" for n in range(5, 15)]
    assert runs[0].phases[0].seconds == 1.5


def test_logs_are_private_and_bounded(state):
    for number in range(2005):
        (state.logs / f"2020{number:05}.log").write_text("")
    log = state.new_log("create dev1")
    assert log.stat().st_mode & 0o007 == 0
    assert len(list(state.logs.iterdir())) == 2000
    assert log.exists()


@pytest.mark.parametrize(
    "command",
    [
        "create dev1", "snapshot create dev1", "snapshot restore dev1", "snapshot delete dev1",
        "verify --fix dev1",
    ],
)  # fmt: skip
def test_a_vm_s_logs_are_those_of_every_command_on_it(state, command):
    log = state.new_log(command)
    assert state.logs_of("dev1") == [log]
    assert state.logs_of("create-dev1") == state.logs_of("ev1") == []


@pytest.mark.parametrize(
    ("command", "name"),
    [("stop my-dev1", "dev1"), ("snapshot create my-dev1", "dev1"), ("box build", "build"),
     ("verify --all", "all"), ("production capture", "capture")],
)  # fmt: skip
def test_a_vm_s_logs_are_not_those_of_another_or_of_the_host(state, command, name):
    state.new_log(command)
    assert state.logs_of(name) == []


def test_the_journal_is_json_for_people(state):
    state.open_journal("dev1", "create", {"uuid": "u"})
    assert json.loads((state.vm("dev1") / "journal.json").read_text())["started_at"]


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "a") as descriptor:
        os.write(descriptor, b"whole\n")
        assert list(tmp_path.iterdir()) == []
    assert (tmp_path / "a").read_text() == "whole\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "b"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
