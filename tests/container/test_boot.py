"""A container doesn't outlive the process that booted it, nspawn, or a test run."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from devvm.adapters.image.nspawn import remove_leftovers
from tests.container.conftest import NAME

pytestmark = pytest.mark.container

#: With a fourth argument, boots as an older devvm did: that container outlives nspawn.
BOOT = """
import sys, time
from pathlib import Path
from devvm.adapters.image import nspawn
from devvm.adapters.image.nspawn import Nspawn
if len(sys.argv) > 4:
    nspawn._INIT = ("/lib/systemd/systemd",)
with Nspawn().booted(Path(sys.argv[1]), name=sys.argv[2], detail=print, log=Path(sys.argv[3])):
    print("booted", flush=True)
    time.sleep(300)
"""


@contextmanager
def booted(root, tmp_path, *more):
    """A process that has booted the container, and will be killed."""
    argv = [sys.executable, "-c", BOOT, root, NAME, tmp_path / "console", *more]
    with (
        # Its keys, which it won't clean up. The path is short because it holds a connection's
        # socket.
        tempfile.TemporaryDirectory(prefix="devvm-test-") as keys,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": keys}
        ) as owner,
    ):
        assert "booted\n" in iter(owner.stdout.readline, ""), (tmp_path / "console").read_text()
        assert len(processes(root)) > 5
        yield owner
        owner.kill()
        remove_leftovers(NAME)


def processes(root):
    """The processes whose root is the container's, and the one that created the container."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "root" / "etc").samefile(root / "etc")
            made_it = f"--machine={NAME}" in (process / "cmdline").read_text().split("\0")
        except OSError:  # it has ended
            continue
        if inside or made_it:
            found.append(int(process.name))
    return found


def nspawn(root):
    return next(pid for pid in processes(root) if _program(pid) == "systemd-nspawn")


def gone(root):
    """Whether all of them have ended; the kernel takes a moment."""
    deadline = time.monotonic() + 10
    while processes(root) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes(root) == []


def test_it_ends_when_its_owner_is_killed(root, tmp_path):
    with booted(root, tmp_path) as owner:
        owner.kill()
        assert gone(root)


def test_it_ends_when_nspawn_is_killed(root, tmp_path):
    with booted(root, tmp_path):
        os.kill(nspawn(root), signal.SIGKILL)
        assert gone(root)


def test_what_an_older_devvm_left_is_ended_by_the_next_run(root, tmp_path):
    with booted(root, tmp_path, "older") as owner:
        os.kill(nspawn(root), signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert processes(root) != []
        remove_leftovers(NAME)
        assert processes(root) == []


def _program(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()
