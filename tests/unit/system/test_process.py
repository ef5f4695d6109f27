"""The only module that starts processes."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devvm.domain.errors import HostNotReadyError
from devvm.system import process


def test_output_and_exit_code_are_returned():
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_arguments_never_meet_a_shell():
    assert process.run(["echo", "a; echo b", "$(id)"]).stdout == "a; echo b $(id)\n"


def test_a_failure_names_cause_replay_and_log(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(process.ProcessError) as caught:
        process.run(["sh", "-c", "echo no such pool >&2; exit 4"], log=log)
    assert caught.value.returncode == 4
    assert "no such pool" in caught.value.details
    assert "sh -c" in caught.value.resolution
    assert caught.value.log == log
    assert "no such pool" in log.read_text()


def test_a_missing_program_points_to_setup():
    with pytest.raises(HostNotReadyError, match="not installed") as caught:
        process.run(["devvm-no-such-program"])
    assert caught.value.resolution == "devvm setup"


def test_standard_input_is_closed():
    assert process.run(["cat"]).stdout == ""


def test_text_for_standard_input():
    assert process.run(["cat"], stdin="secret").stdout == "secret"


def test_the_environment_is_rebuilt(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("ANSIBLE_CONFIG", "/elsewhere")
    printed = process.run(["env"], env={"EXTRA": "1"}).stdout
    assert "hidden" not in printed
    assert "ANSIBLE_CONFIG" not in printed
    assert "EXTRA=1" in printed
    assert "LC_ALL=C.UTF-8" in printed


def test_a_timeout_kills_the_whole_group(tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(process.ProcessError, match="124"):
        process.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout=1)
    assert _gone(int(pid_file.read_text()))


def test_stream_hands_over_lines_as_they_come():
    lines = []
    process.stream(["sh", "-c", "echo one; echo two >&2"], lines.append)
    assert lines == ["one", "two"]


def test_stream_fails_with_the_tail():
    with pytest.raises(process.ProcessError) as caught:
        process.stream(["sh", "-c", "echo reason; exit 2"], lambda _line: None)
    assert "reason" in caught.value.details


def test_stream_kills_the_child_when_the_reader_is_interrupted(tmp_path):
    pid_file = tmp_path / "pid"

    def interrupt(_line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.stream(["sh", "-c", f"echo $$ > {pid_file}; echo x; sleep 60"], interrupt)
    assert _gone(int(pid_file.read_text()))


def test_background_is_stopped_at_the_end(tmp_path):
    with process.background(["sleep", "60"], log=tmp_path / "log") as child:
        assert child.poll() is None
    assert child.returncode == -signal.SIGTERM


def test_an_interactive_command_returns_its_code():
    assert process.interactive([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def test_a_child_ends_when_devvm_is_killed(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"""
from devvm.system import process
process.run(["sh", "-c", "echo $$ > {pid_file}; exec sleep 60"])
"""
    devvm = subprocess.Popen([sys.executable, "-c", code])
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.05)
    devvm.kill()
    devvm.wait()
    assert _gone(int(pid_file.read_text()))


def test_a_child_that_devvm_did_not_live_to_tie_to_itself_never_begins(tmp_path):
    """`setpriv` makes it die with devvm, and is slow here."""
    begun, tied, slow = tmp_path / "begun", tmp_path / "tied", tmp_path / "setpriv"
    setpriv = shutil.which("setpriv", path=process.environment()["PATH"])
    slow.write_text(f'#!/bin/sh\n: >{begun}; sleep 1; {setpriv} "$@"; echo $? >{tied}\n')
    slow.chmod(0o755)
    ran = tmp_path / "ran"
    code = f"from devvm.system import process; process.run(['touch', {str(ran)!r}])"
    path = f"{tmp_path}:{os.environ['PATH']}"
    devvm = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PATH": path})
    _wait_for(begun)
    devvm.kill()
    devvm.wait()
    _wait_for(tied)
    assert not ran.exists()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def _gone(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] == "Z":  # killed, not reaped by its new parent yet
            return True
        time.sleep(0.1)
    return False


def test_files_go_through_a_command_byte_for_byte(tmp_path):
    source, destination = tmp_path / "a", tmp_path / "b"
    source.write_bytes(bytes(range(256)) * 1000)
    process.transfer(["cat"], source=source, destination=destination)
    assert destination.read_bytes() == source.read_bytes()
    assert destination.stat().st_mode & 0o777 == 0o600


def test_files_go_through_gzip_on_their_way(tmp_path):
    plain, zipped, again = tmp_path / "a", tmp_path / "b.gz", tmp_path / "c"
    plain.write_bytes(bytes(range(256)) * 10_000)
    process.transfer(["cat", plain], destination=zipped, through=["gzip", "-c"])
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()
    assert zipped.stat().st_mode & 0o777 == 0o600
    process.transfer(["dd", f"of={again}", "status=none"], source=zipped, through=["gzip", "-dc"])
    assert again.read_bytes() == plain.read_bytes()


def test_files_may_be_open(tmp_path):
    with (tmp_path / "a").open("w+") as source, (tmp_path / "b").open("w+") as destination:
        source.write("one\n")
        source.seek(0)
        destination.write("zero\n")
        destination.flush()
        process.transfer(["cat"], source=source.fileno(), destination=destination.fileno())
    assert (tmp_path / "b").read_text() == "zero\none\n"


def test_a_file_that_is_not_whole_is_no_success(tmp_path):
    whole = gzip.compress(bytes(range(256)) * 10_000)
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(process.ProcessError) as failed:
        process.transfer(["cat"], source=tmp_path / "a.gz", through=["gzip", "-dc"])
    assert failed.value.argv == ("gzip", "-dc")
    assert "unexpected end of file" in failed.value.details


@pytest.mark.parametrize("way", ["source", "destination"])
def test_a_command_that_ends_early_is_what_failed(tmp_path, way):
    file, through = tmp_path / "a.gz", ["gzip", "-dc" if way == "source" else "-c"]
    file.write_bytes(gzip.compress(os.urandom(3_000_000)))
    with pytest.raises(process.ProcessError) as failed:
        process.transfer(["sh", "-c", "echo refused >&2; exit 4"], **{way: file}, through=through)
    assert (failed.value.returncode, failed.value.output) == (4, "refused\n")


def test_a_transfer_that_fails_says_why(tmp_path):
    with pytest.raises(process.ProcessError) as failed:
        process.transfer(["sh", "-c", "echo part; echo full >&2; exit 3"],
                         destination=tmp_path / "b")  # fmt: skip
    assert (failed.value.returncode, failed.value.output) == (3, "full\n")


@pytest.mark.parametrize(("code", "returned"), [(255, -signal.SIGINT), (7, 7)])
def test_ctrl_c_that_ends_ssh_is_told_from_a_lost_connection(code, returned):
    ssh = ["sh", "-c", f"kill -INT $PPID; sleep 0.1; exit {code}"]  # as the terminal does
    assert process.interactive(ssh) == returned
    assert process.interactive(["sh", "-c", "exit 255"]) == 255
