"""Speeds up unit tests by skipping what none of them is about; and shared fixtures."""

import functools
import os
import signal
from pathlib import Path

import pytest

from devvm.parity.checks import catalogue
from devvm.parity.collect import observe
from devvm.stack.folder import StackFolder
from devvm.system import sockets
from tests.unit.parity_bench import LocalHost

REPOSITORY = Path(__file__).parents[2]
#: A folder in memory, and how many bytes of it the tests may use.
MEMORY, ROOM = Path("/dev/shm"), 2**30


def pytest_collection_finish(session):
    """If only these tests run, put their 80,000 small files into memory if possible."""
    tiers = {REPOSITORY / "tests" / name for name in ("roles", "unit")}
    if MEMORY.is_dir() and all(tiers & {*item.path.parents} for item in session.items):
        there = os.statvfs(MEMORY)
        programs_run = not there.f_flag & os.ST_NOEXEC
        if programs_run and there.f_bavail * there.f_frsize > ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session", autouse=True)
def fast_disk_and_hash():
    """Skip fsync, and hash this checkout's stack only once.

    Only processes die here, not the host, so what they wrote is there without fsync. Nearly every
    command hashes its stack; this checkout's doesn't change during the tests. A stack elsewhere is
    read each time.
    """
    real = StackFolder.content
    ours = functools.cache(real)

    def content(folder):
        return ours(folder) if folder.root == REPOSITORY else real(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        patch.setattr(StackFolder, "content", content)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """Let tests send Ctrl-C even if they run as a background job, in which shells ignore it.

    Processes that the tests start inherit this.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def this_machine():
    """What the suite's collectors and probes find on this machine; run only once, as it is slow."""
    host = LocalHost()
    seen = observe.observe(host, catalogue.wanted([]))
    assert len(host.commands) == 1
    return seen


@pytest.fixture(autouse=True)
def own_sockets(tmp_path_factory, monkeypatch):
    """Keep the sockets of SSH connections out of the user's own folder."""
    folder = tmp_path_factory.mktemp("s") / "devvm-%i"
    monkeypatch.setattr(sockets, "FOLDERS", (str(folder),))
