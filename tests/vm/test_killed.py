"""Commands that are killed or interrupted while a real guest boots, works or shuts down.

A command is killed at one of its own events, plus a short delay that differs with the commit.
tests/kill tries many other moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import pytest

from tests.vm.baseline import domains, virsh
from tests.vm.conftest import ALL_THERE, HERE, REPOSITORY, healthy, look, work

pytestmark = pytest.mark.vm

_DOMAIN = "dev1.devvm-test.test"


def start(*args):
    """Start a command in its own session, to be killed."""
    return subprocess.Popen(
        # children inherit an ignored Ctrl-C, as in the background
        ["env", "--default-signal=INT", sys.executable, "-m", "devvm", *args],
        cwd=REPOSITORY,
        env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(child, line):
    """Wait until a command has printed something, plus up to three seconds."""
    for said in child.stderr:
        if line in said:
            break
    else:
        pytest.fail(f"it never said {line}")
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    moment = random.Random(commit + line).uniform(0, 3)
    print(f"{moment:.2f} s after {line}")  # noqa: T201 - shown where the test fails
    time.sleep(moment)


def kill(child, line):
    """Kill a command's whole process group when it has printed something."""
    wait_for(child, line)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stderr.close()


def state():
    return virsh("domstate", _DOMAIN).strip()


def test_a_rebuild_that_is_killed_while_it_is_restored_is_undone_by_doctor(dev1, devvm):
    before = look(devvm)
    kill(start("rebuild", "dev1", "--yes"), "restore: Restoring")
    assert "has not finished" in str(devvm("doctor", "--json", code=1).json)
    devvm("doctor", "--fix")
    assert (look(devvm), state()) == (before, "running")  # as before; it may still be booting
    healthy(devvm)


def test_an_interrupted_rebuild_cleans_up(dev1, devvm):
    before = look(devvm)
    child = start("rebuild", "dev1", "--yes")
    wait_for(child, "restore: Restoring")
    os.kill(child.pid, signal.SIGINT)
    rest = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 130
    assert "Restoring dev1 as it was" in rest
    assert (look(devvm), state()) == (before, "running")
    healthy(devvm)


def test_destroy_and_recover_that_are_killed(dev1, devvm):
    kill(start("destroy", "dev1", "--yes"), "destroy:")
    devvm("destroy", "dev1", "--yes")
    assert "dev1" not in look(devvm)["vms"]
    kill(start("recover", "dev1"), "boot: Starting")
    assert devvm("recover", "dev1", "--json").json["report"]["passed"]
    assert work(devvm) == ALL_THERE
    healthy(devvm)


def test_a_clone_of_a_snapshot_that_is_killed_leaves_nothing(dev1, devvm):
    devvm("snapshot", "create", "dev1", "before")
    before = look(devvm)
    (kept,) = (d for d in before["domains"] if d.startswith("dev1") and "@" in d)
    kill(start("clone", "dev1", "--as", "dev1-copy", "--snapshot", "before"), "boot: Starting")
    assert {_below(path) for path in _disks("dev1-copy.devvm-test.test")} == set(_disks(kept))
    devvm("doctor", "--fix")
    assert look(devvm) == before
    healthy(devvm)


def _disks(domain):
    xml = ET.fromstring(virsh("dumpxml", "--inactive", domain))
    return [source.get("file") for source in xml.iterfind("devices/disk/source")]


def _below(path):
    return ET.fromstring(virsh("vol-dumpxml", path)).findtext("backingStore/path")


def test_what_an_interrupted_create_made_is_kept_where_that_is_wanted(dev1, devvm):
    before = look(devvm)
    child = start("create", "dev9", "--engineer", "joe", "--keep")
    wait_for(child, "restore: Restoring")
    while "dev9.devvm-test.test" not in domains():  # from then on there is something to keep
        assert child.poll() is None
        time.sleep(0.2)
    os.kill(child.pid, signal.SIGINT)
    rest = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 130
    assert "dev9 is kept unfinished; to remove it: devvm destroy dev9" in rest
    assert devvm("show", "dev9", "--json").json["vm"]["ready"] is False
    found = devvm("doctor", "--json", code=1).json["findings"]
    assert [f["subject"] for f in found] == ["dev9"], found
    devvm("destroy", "dev9", "--purge", "dev9")
    assert look(devvm) == before
