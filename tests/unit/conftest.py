"""What unit tests need not wait for, since none of them is about it; and what they share."""

import functools
import os
import signal
from pathlib import Path

import pytest

from devvm.domain.release import identity
from devvm.parity.checks import catalogue
from devvm.parity.collect import observe
from tests.unit.parity_bench import LocalHost

REPOSITORY = Path(__file__).parents[2]
#: Files in memory, and how many bytes of it the tests may use.
MEMORY, ROOM = Path("/dev/shm"), 2**30


def pytest_collection_finish(session):
    """Where only these tests run, their 80,000 small files are made in memory, if that can be."""
    tiers = {REPOSITORY / "tests" / name for name in ("roles", "unit")}
    if MEMORY.is_dir() and all(tiers & {*item.path.parents} for item in session.items):
        there = os.statvfs(MEMORY)
        programs_run = not there.f_flag & os.ST_NOEXEC
        if programs_run and there.f_bavail * there.f_frsize > ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_waited_for():
    """No host dies here, only processes: what they wrote is there, on the disk or not.

    And the roles of this checkout stay as they are while the tests run: a command that names its
    stack, as nearly every one does, need not read them again. A stack elsewhere is read each time.
    """
    real = identity.content_hash
    ours = functools.cache(lambda *roots: real(roots))

    def content_hash(folders):
        here = all(root.is_relative_to(REPOSITORY) for root in folders)
        return ours(*folders) if here else real(folders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        patch.setattr(identity, "content_hash", content_hash)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """Also in a job in the background, of which shells want that it ignores Ctrl-C.

    What the tests send themselves is heard, and what they start hears it too.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def this_machine():
    """What the suite's collectors and probes find here, in one look: it hashes much."""
    host = LocalHost()
    seen = observe.observe(host, catalogue.wanted([]))
    assert len(host.commands) == 1
    return seen
