"""libvirtd is killed and started again in the middle of an operation.

The VMs run on. The operation ends well or with one clear error; the same command, typed again,
ends right. Only where libvirtd is a plain daemon: elsewhere systemd is its master, and starts it
again by itself.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import libvirt
import pytest
from kill_host import finish
from kill_states import problems

pytestmark = pytest.mark.kill

_PID_FILES = (Path("/run/libvirtd.pid"), Path("/var/run/libvirtd.pid"))
#: Where in an operation: parts of its way.
MOMENTS = (1 / 3, 2 / 3)


@pytest.fixture(scope="module")
def daemon():
    """The command line of the libvirtd that runs without systemd."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd looks after libvirtd here")
    argv = _running()
    assert argv is not None, "libvirtd does not run: bin/devvm setup"
    assert "-d" in argv, argv  # or it would not let go of whoever starts it again
    yield argv
    if _running() is None:  # whatever failed: the host keeps its daemon
        _start(argv)


@pytest.mark.parametrize(
    "operation", ["create", "rebuild", "destroy", "recover", "snapshot-restore"]
)
def test_libvirtd_dies(operation, daemon, corners, tried):
    host, scenarios = corners[0].host, corners[0].scenarios
    scenario = scenarios.named(operation)
    host.restore(scenario.baseline)
    passed, _, _ = host.boundaries(*scenario.argv)
    start, failures = time.monotonic(), []
    for part in MOMENTS:
        point = round(len(passed) * part)
        host.restore(scenario.baseline)
        try:
            wrong = _try(host, scenarios, scenario, point, daemon)
        finally:
            for corner in corners:
                corner.host.connect()
        if wrong:
            failures.append(f"{passed[point]['boundary']}: {'; '.join(wrong)}")
    survived, seconds = len(MOMENTS) - len(failures), round(time.monotonic() - start)
    tried.append((f"{operation}, libvirtd killed", len(passed), "", 2, survived, seconds))
    assert not failures, "\n".join(failures)


def _try(host, scenarios, scenario, point, daemon):
    reached = host.scratch / "reached"
    reached.unlink(missing_ok=True)
    process = host.start(*scenario.argv, pause_at=point, pause=1, reached=reached)
    deadline = time.monotonic() + 30
    while not reached.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        _kill()
        time.sleep(1.5)  # the command goes on, and finds that nobody answers
    finally:
        _start(daemon)
    done = finish(process)
    host.connect()
    found = []
    if done.code and not done.error:
        found.append(f"no clear error: {done.output}")
    if done.code:
        again = host.run(*scenario.argv)
        if again.code:
            found.append(f"again: exit code {again.code}: {again.output}")
    return found + problems(host, scenario.after, scenarios.goldens, scenario.baseline)


def _pid():
    for file in _PID_FILES:
        if file.is_file():
            return int(file.read_text())
    return None


def _running():
    pid = _pid()
    command = Path(f"/proc/{pid}/cmdline")
    if pid is None or not command.is_file():
        return None
    argv = command.read_text().split("\0")[:-1]
    # one that was killed and not yet waited for has no command line
    return argv if argv and Path(argv[0]).name == "libvirtd" else None


def _kill():
    pid = _pid()
    assert _running() is not None, pid
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _running() is not None and time.monotonic() < deadline:
        time.sleep(0.05)


def _start(argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:
        try:
            libvirt.open("qemu:///system").close()
        except libvirt.libvirtError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return
