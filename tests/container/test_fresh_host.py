"""A new hire's machine: minimal Debian, a clone of the repository, an account with sudo."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from devvm.system import trees
from tests.container.reference import STATE

pytestmark = pytest.mark.container

_FRESH = Path(__file__).parents[1] / "fresh" / "run"
_QUESTION = "Proceed? [Y/n]"
#: After set-up: setting up again works, and this account has the command on its PATH.
_THEN = "bin/devvm setup && ~/.local/bin/devvm list && test -O ~/.local/bin/devvm"


@pytest.fixture(scope="module")
def host(state):
    """The folder for the machine's root file system."""
    root = STATE / "fresh"
    trees.remove(root)  # from a run that was killed
    yield root
    trees.remove(root)


def at_a_terminal(root, command, answer):
    """Run a command on the machine and answer its question; return output and exit code."""
    main, terminal = pty.openpty()
    child = subprocess.Popen(
        [_FRESH, "--user", root, "sh", "-c", command],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said, asked, deadline = "", 0, time.monotonic() + 900
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            said += os.read(main, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if said.count(_QUESTION) > asked:
            asked += 1
            os.write(main, answer)
    os.close(main)
    return said, child.wait(timeout=30), asked


def test_who_says_no_has_the_machine_as_it_was(host):
    said, code, asked = at_a_terminal(host, "bin/devvm create dev1", b"n\n")
    assert (code, asked) == (4, 1), said
    assert "nothing was installed" in said
    assert "Next: /srv/devvm/bin/devvm setup" in said
    assert not (host / "usr/bin/vagrant").exists()


def test_one_question_sets_the_machine_up_for_a_person_with_sudo(host):
    said, code, asked = at_a_terminal(host, f"bin/devvm setup && {_THEN}", b"\n")
    assert (code, asked) == (0, 1), said
    assert "  - install " in said
    assert "This host is ready. Next: devvm create" in said
    assert "There are no VMs on this host. Next: devvm create" in said
    assert (host / "usr/bin/vagrant").exists()
