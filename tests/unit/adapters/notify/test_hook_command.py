"""The hook command, with real scripts."""

import json
import os
import time
from pathlib import Path

import pytest

from devvm.adapters.notify.hook_command import HookCommand
from devvm.domain.errors import OperationError
from devvm.domain.rollout.message import Message
from devvm.system.process import ProcessError

MESSAGE = Message(
    kind="failure", rollout="r1", release="2026.11.23-1a2b3c4d5e6f",
    at="2026-11-23T10:00:00+00:00", by="jane", text="dev1 failed\nits $(site) doesn't start",
    facts={"vm": "dev1"},
)  # fmt: skip


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "notify"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def ended(pid):
    """Whether a process is gone, possibly after a short wait."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_the_command_gets_its_arguments_and_one_line_of_json(script, tmp_path):
    hook = script(f'printf "%s|" "$@" >{tmp_path}/arguments; cat >{tmp_path}/input')
    HookCommand([str(hook), "--from", "a b; id"]).send(MESSAGE)
    assert (tmp_path / "arguments").read_text() == "--from|a b; id|"
    text = (tmp_path / "input").read_text()
    assert text.count("\n") == 1
    data = json.loads(text)
    assert data["text"] == MESSAGE.text
    assert data["facts"] == {"vm": "dev1"}


def test_a_command_that_reads_nothing_is_told_all_the_same(script, tmp_path):
    HookCommand([str(script(f"touch {tmp_path}/told"))]).send(
        Message(
            kind="done", rollout="r1", release="r", at="t", by="jane", text="done",
            facts={"long": "x" * 1_000_000},
        )
    )  # fmt: skip
    assert (tmp_path / "told").exists()


def test_a_failure_says_what_the_command_said(script):
    hook = script("echo 'no such room' >&2; exit 7")
    with pytest.raises(ProcessError) as caught:
        HookCommand([str(hook)]).send(MESSAGE)
    assert "exit code 7" in caught.value.brief
    assert "no such room" in caught.value.details


def test_a_command_that_is_not_there(tmp_path):
    with pytest.raises(OperationError, match=f"there is no command {tmp_path}/none"):
        HookCommand([f"{tmp_path}/none"]).send(MESSAGE)


def test_one_that_hangs_is_killed_with_what_it_started(script, tmp_path):
    hook = script(f"sleep 600 & echo $! >{tmp_path}/pid; wait")
    with pytest.raises(ProcessError, match="notify failed") as caught:
        HookCommand([str(hook)], timeout=0.5).send(MESSAGE)
    assert "timed out after 0.5 s" in caught.value.details
    assert ended((tmp_path / "pid").read_text().strip())


def test_a_daemon_that_keeps_the_output_open_does_not_hold_up(script, tmp_path):
    hook = script(f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 600' &\nexit 0")
    try:
        with pytest.raises(ProcessError):
            HookCommand([str(hook)], timeout=0.5).send(MESSAGE)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_the_shells_secrets_do_not_reach_it(script, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    HookCommand([str(script(f"env >{tmp_path}/env"))]).send(MESSAGE)
    assert "hidden" not in (tmp_path / "env").read_text()
