"""Active users of a VM, questions to them, and their answers: the script on real terminals."""

import os
import pty
import select
import struct
import time
import tty
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from devvm.domain.errors import DevvmError, NotFoundError, OperationError
from devvm.operations.core.machine import Machine
from devvm.operations.guest import sessions
from devvm.system import process
from tests.support.world import World

RELEASE = "2026.11.23-1a2b3c4d5e6f"


class Guest:
    """A machine with its own terminals, whose home directories are in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.utmp, self.passwd = folder / "utmp", folder / "passwd"
        self.utmp.touch()
        (folder / "dev" / "pts").mkdir(parents=True)
        self.passwd.touch()
        self.ends = []

    def home(self, login, shell="/bin/bash"):
        home = self.folder / "home" / login
        home.mkdir(parents=True)
        with self.passwd.open("a") as file:
            file.write(f"{login}:x:1001:1001:{login},,,:{home}:{shell}\n")
        return home

    def terminal(self, login, *, idle=0, in_utmp=True):
        """A terminal with a logged-in user; returns the end the user sees, and its name."""
        master, slave = pty.openpty()
        self.ends += [master, slave]
        tty.setraw(slave)  # like an editor
        path = Path(os.ttyname(slave))
        (self.folder / "dev" / "pts" / path.name).symlink_to(path)
        then = time.time() - idle
        os.utime(path, (then, then))
        if in_utmp:
            self.log_in(login, f"pts/{path.name}")
        return master, f"pts/{path.name}"

    def log_in(self, login, line):
        user_process = 7
        record = struct.pack(
            "<hxxi32s4s32s256shhiii4i20x", user_process, os.getpid(), line.encode(), b"x",
            login.encode(), b"10.0.0.1", 0, 0, 0, int(time.time()), 0, 0, 0, 0, 0,
        )  # fmt: skip
        with self.utmp.open("ab") as file:
            file.write(record)

    def run(self, target, argv, *, timeout, stdin):
        assert argv[:4] == ["sudo", "sh", "-s", "--"]
        done = process.run(
            ["sh", "-s", "--", *argv[4:]], check=False, timeout=timeout, stdin=stdin,
            env={
                "PEOPLE_DEV": str(self.folder / "dev"),
                "PEOPLE_UTMP": str(self.utmp),
                "PEOPLE_PASSWD": str(self.passwd),
            },
        )  # fmt: skip
        assert done.stderr == ""
        assert done.returncode == 0
        return done.returncode, done.stdout, done.stderr

    def close(self):
        for descriptor in self.ends:
            os.close(descriptor)


@pytest.fixture
def guest(tmp_path):
    machine = Guest(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def machine(tmp_path, guest):
    """A VM dev1 that is this machine, as far as terminals and homes are concerned."""
    world = World(tmp_path / "world")
    world.create()
    return Machine(replace(world.services, shell=guest), "dev1")


def shown(master):
    """What a terminal shows."""
    seen = b""
    while select.select([master], [], [], 0)[0]:
        seen += os.read(master, 4096)
    return seen.decode()


def owner(line):
    return Path("/dev", line).owner()


def test_who_is_active_is_who_pressed_a_key_not_long_ago(machine, guest):
    _, here = guest.terminal("ann", idle=100)
    _, away = guest.terminal("ann", idle=5000)
    found = sessions.active(machine, within_seconds=900)
    assert [session.terminal for session in found] == [here]
    assert 100 <= found[0].idle_seconds < 120
    assert found[0].login == owner(here)
    both = sessions.active(machine, within_seconds=6000)
    assert [session.terminal for session in both] == [here, away]


def test_nobody_is_logged_in(machine, guest):
    assert sessions.active(machine, within_seconds=900) == ()
    assert sessions.ask(machine, RELEASE, 15, "jane") == ()
    assert sessions.tell(machine, "hello") == ()


def test_a_clock_that_was_put_back_makes_nobody_idle(machine, guest):
    _, line = guest.terminal("ann", idle=-500)
    (session,) = sessions.active(machine, within_seconds=0)
    assert (session.terminal, session.idle_seconds) == (line, 0)


def test_a_terminal_that_is_not_in_utmp_is_seen_where_it_is_a_persons(machine, guest):
    _, line = guest.terminal("ann", in_utmp=False)
    if os.geteuid() == 0:
        assert sessions.active(machine, within_seconds=900) == ()
        os.chown(f"/dev/{line}", 64055, -1)  # a service
        assert sessions.active(machine, within_seconds=900) == ()
        os.chown(f"/dev/{line}", 1001, -1)
    (session,) = sessions.active(machine, within_seconds=900)
    assert session.terminal == line


def test_lines_of_utmp_that_are_no_terminals_are_left_out(machine, guest):
    for line in (":0", "pts/999", "../../etc/passwd", "sshd"):
        guest.log_in("ann", line)
    (guest.folder / "dev" / "sshd").touch()
    assert sessions.active(machine, within_seconds=900) == ()
    assert sessions.tell(machine, "hello") == ()
    assert (guest.folder / "dev" / "sshd").read_bytes() == b""


def test_everybody_who_is_logged_in_is_asked(machine, guest):
    first, here = guest.terminal("ann")
    second, there = guest.terminal("bob", idle=50000)
    assert set(sessions.ask(machine, RELEASE, 15, "jane")) == {here, there}
    for master in (first, second):
        assert shown(master) == (
            "\a\r\n"
            f"devvm: jane will update this VM to {RELEASE} in 15 minutes.\r\n"
            "Services will restart, and the VM may reboot. Save your work.\r\n"
            "  To update now:    touch ~/update-now      (or log out)\r\n"
            "  To postpone it:   touch ~/update-later\r\n"
        )


def test_what_is_told_is_a_line(machine, guest):
    master, line = guest.terminal("ann")
    assert sessions.tell(machine, f"your VM is on release {RELEASE} now") == (line,)
    assert shown(master) == f"\a\r\ndevvm: your VM is on release {RELEASE} now\r\n"


def test_a_terminal_that_is_full_does_not_stop_us(machine, guest):
    _, line = guest.terminal("ann")
    slave = os.open(f"/dev/{line}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(slave, b"x" * 4096)
    os.close(slave)
    master, other = guest.terminal("bob")
    assert other in sessions.tell(machine, "hello")
    assert "hello" in shown(master)


@pytest.mark.parametrize(
    ("release", "minutes", "by", "notice"),
    [
        (RELEASE, 15, "jane", sessions.NOTICE),
        (RELEASE, 1, "j" * 80, "The VM gets a new root and restarts. " * 20),
        ("r" * 300, 100000, "\x1b[2Jjane\r\n\x07\x9b", "\x1b]0;owned\x07 \u202e"),
        ("r", 1, "", ""),
    ],
)
def test_a_question_fits_and_drives_no_terminal(release, minutes, by, notice):
    lines = sessions.question(release, minutes, by, notice)
    assert 3 <= len(lines) <= 5
    assert all(0 < len(line) <= 78 and line.isprintable() for line in lines)
    assert "update-now" in lines[-2]
    assert "update-later" in lines[-1]


def test_a_question_says_one_minute():
    assert " in 1 minute." in sessions.question(RELEASE, 1, "jane")[0]


def test_people_answer_with_a_file(machine, guest):
    ann = guest.home("ann")
    assert sessions.answer(machine) is None
    (ann / "update-now").touch()
    assert sessions.answer(machine) == "now"
    (ann / "update-later").touch()
    os.utime(ann / "update-now", (1, 1))
    assert sessions.answer(machine) == "later"
    os.utime(ann / "update-later", (0, 0))
    assert sessions.answer(machine) == "now"  # ann's latest answer
    os.utime(ann / "update-later", (1, 1))
    assert sessions.answer(machine) == "later"


def test_of_several_people_the_one_who_says_later_counts(machine, guest):
    ann, root = guest.home("ann"), guest.home("root", shell="/bin/sh")
    (ann / "update-later").touch()
    os.utime(ann / "update-later", (1, 1))
    (root / "update-now").touch()
    assert sessions.answer(machine) == "later"


def test_what_is_no_answer(machine, guest):
    (guest.home("ann") / "update-now").mkdir()
    (guest.home("www-data", shell="/usr/sbin/nologin") / "update-later").touch()
    with guest.passwd.open("a") as file:
        file.write("gone:x:1:1::/nonexistent:/bin/sh\nbroken\n")
    assert sessions.answer(machine) is None


def test_an_answer_to_an_earlier_question_is_none_to_the_next(machine, guest):
    ann = guest.home("ann")
    (ann / "note").touch()
    for again in (
        lambda: sessions.ask(machine, RELEASE, 15, "jane"),
        lambda: sessions.clear(machine),
    ):
        (ann / "update-later").touch()
        (ann / "update-now").symlink_to("note")
        again()
        assert sessions.answer(machine) is None
        assert [path.name for path in ann.iterdir()] == ["note"]


def test_what_can_not_be_read_is_nobody():
    text = (
        "session\tann\tpts/0\t12\n\nsession\tann\tpts/1\nsession\tann\tpts/2\tsoon\n"
        "session\tann\tpts/3\t-1\nsession\tann\tpts/4\t²\nMotd of the day\nsession\tbob\ttty1\t3\n"
    )
    assert sessions.parse(text) == (
        sessions.Session(login="bob", terminal="tty1", idle_seconds=3),
        sessions.Session(login="ann", terminal="pts/0", idle_seconds=12),
    )


def test_it_is_one_command_as_root(tmp_path):
    world = World(tmp_path)
    world.create()
    world.shell.answer = "session\tann\tpts/0\t12\n"
    world.shell.asked.clear()
    assert sessions.active(world.machine(), within_seconds=60)
    assert world.shell.asked == [("dev1-vagrant", ["sudo", "sh", "-s", "--", "sessions"])]
    world.shell.answer = "maybe\n"
    assert sessions.answer(world.machine()) is None


def test_a_vm_that_does_not_let_devvm_in_is_an_error(tmp_path):
    world = World(tmp_path)
    world.create()
    world.host.fail_at, world.host.failure = "shell", OperationError("no route")
    with pytest.raises(DevvmError, match="no route"):
        sessions.active(world.machine(), within_seconds=60)
    with pytest.raises(NotFoundError):
        sessions.answer(world.machine("dev2"))
