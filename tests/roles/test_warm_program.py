"""What of the guest's `warm` can be tried outside a VM; tests/vm/test_warm.py has all of it."""

import errno
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.roles.test_guest_programs import PROGRAMS, program

WARM = PROGRAMS / "warm"
#: Runs the program's functions on a network card of a network namespace of its own.
_CARD = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.roles.test_guest_programs import program
warm = program("warm")
warm.take_down("card0")
warm.set_mac("card0", "52:54:00:aa:bb:cc")
"""


def shell(script):
    return subprocess.run(
        ["unshare", "--net", "sh", "-euc", script], capture_output=True, text=True, check=True
    ).stdout


def test_a_card_that_was_up_is_down_without_addresses_and_has_the_new_mac(tmp_path):
    (tmp_path / "card.py").write_text(_CARD)
    shown = shell(
        "ip link add card0 type veth peer name card1\n"
        "ip address add 10.9.9.9/24 dev card0; ip link set card0 up\n"
        f"{sys.executable} {tmp_path}/card.py\n"
        "ip -brief link show card0; ip -brief address show card0"
    )
    link, address = shown.splitlines()
    assert link.split()[:3] == ["card0@card1", "DOWN", "52:54:00:aa:bb:cc"]
    assert address.split() == ["card0@card1", "DOWN"]


def test_a_machine_is_known_by_its_name_its_machine_id_and_its_addresses(tmp_path):
    """Not by the words that `ip` prints beside an address that was leased."""
    (tmp_path / "names.py").write_text(
        _CARD.partition("warm.take_down")[0]
        + """
warm.read = {warm.HOST_NAME: "spare-1", warm.MACHINE_ID: "0123abcd"}.get
warm.cards = lambda: ["card0"]
print(warm.names())
"""
    )
    shown = shell(
        "ip link add card0 type veth peer name card1; ip link set card1 up\n"
        "ip address add 10.9.9.9/24 metric 1024 dev card0; ip link set card0 up\n"
        f"{sys.executable} {tmp_path}/names.py"
    )
    assert shown.startswith("[b'spare-1', b'0123abcd', b'10.9.9.9'")
    assert "metric" not in shown
    assert "1024" not in shown


def test_who_uses_a_file_system_is_named(monkeypatch):
    found = program("warm")
    monkeypatch.chdir("/dev/shm")
    own = found.unit_of(str(os.getpid()))
    assert own
    assert own in found.using(Path("/dev/shm").stat().st_dev)


def test_mounts_are_those_of_the_process():
    points = [fields[4] for fields in program("warm").mounts("self")]
    assert "/" in points
    assert program("warm").mounts("0") == []


def test_only_files_in_a_folder_are_removed(tmp_path):
    found = program("warm")
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/system.journal").write_text("x")
    for _ in range(2):
        found.remove(str(tmp_path / "journal"))
    assert not (tmp_path / "journal").exists()


@pytest.fixture
def process():
    """Runs Python code that prints a line once it is ready; returns the process's number."""
    with ExitStack() as started:

        def run(code):
            child = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-Sc", f"{code}\nprint(); input()"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            started.callback(child.kill)
            child.stdout.readline()
            return str(child.pid)

        yield run


#: No memory has the word itself, only what is made of it.
_SECRET = "word = bytes(b ^ 1 for b in b'rq`sd,04b7'); assert len(word) == 10"


@pytest.mark.parametrize(
    "code",
    [
        _SECRET,
        # over the end of a piece
        f"{_SECRET}; import mmap; m = mmap.mmap(-1, 4 << 20); m[2097147:2097157] = word; del word",
    ],
)
def test_a_process_that_has_a_word_in_its_memory_remembers_it(process, code):
    word = bytes(b ^ 1 for b in b"rq`sd,04b7")
    number = process(code)
    assert program("warm").remembers(number, [b"never-there", word])
    assert not program("warm").remembers(number, [word[::-1] + word])


def test_memory_that_was_never_used_is_not_read(process):
    """A server may reserve more than the machine has."""
    number = process("import mmap; kept = mmap.mmap(-1, 64 << 30, flags=0x4022)")
    before = rss(number)
    assert not program("warm").remembers(number, [b"spare-0a1b2c3d"])
    assert rss(number) - before < 1024


def rss(number):
    """KiB of memory that a process uses."""
    status = Path(f"/proc/{number}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_a_process_that_has_ended_remembers_nothing():
    child = subprocess.Popen(["true"])
    child.wait()
    assert not program("warm").remembers(str(child.pid), [b"spare"])


def test_memory_that_can_not_be_read_may_have_it(process, monkeypatch):
    """A device's, for example, which this machine may not have."""
    found = program("warm")

    def pieces(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(found, "pieces", pieces)
    assert found.remembers(process("pass"), [b"spare-0a1b2c3d"])


def test_units_that_know_the_machine_are_found_and_timers_and_ssh_with_them(process, monkeypatch):
    found = program("warm")
    knows = process("word = 'spare-' + 'fedcba98'")
    ignorant = process("pass")
    units = {knows: "site.service", ignorant: "cache.service"}
    monkeypatch.setattr(found, "processes", lambda: [*units, "0"])
    monkeypatch.setattr(found, "unit_of", lambda number: units.get(number, "other.service"))
    stopped = found.knowing(
        ["cache.service", "daily.timer", "site.service", "ssh.service"], [b"spare-fedcba98"]
    )
    assert stopped == ["daily.timer", "site.service", "ssh.service"]


def test_a_unit_with_a_host_name_of_its_own_is_among_them(monkeypatch):
    found = program("warm")
    other = subprocess.Popen(["unshare", "--uts", "sleep", "60"])
    try:
        while Path(f"/proc/{other.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        monkeypatch.setattr(found, "processes", lambda: [str(other.pid)])
        monkeypatch.setattr(found, "unit_of", lambda number: "site.service")
        assert found.knowing(["site.service"], [b"spare-fedcba98"]) == ["site.service"]
    finally:
        other.kill()
        other.wait()


def test_an_identity_is_written_to_the_data_disk(tmp_path, monkeypatch):
    found = program("warm")
    monkeypatch.setattr(found, "IDENTITY_FILES", str(tmp_path / "identity"))
    found.identify("")
    assert not (tmp_path / "identity").exists()
    found.identify('{"site.key": "SECRET", "../../etc/passwd": "x"}')
    assert (tmp_path / "identity/site.key").read_text() == "SECRET"
    assert (tmp_path / "identity/site.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "identity").iterdir()) == ["passwd", "site.key"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say: freeze [--with-data], or: thaw"),
        (["freeze", "--data"], "say: freeze [--with-data], or: thaw"),
        (["thaw"], "say: freeze [--with-data], or: thaw"),
        (["melt"], "say: freeze [--with-data], or: thaw"),
        (["thaw", "soon", "52:54:00:aa:bb:cc", "dev1", "key"], "could not convert"),
        (["thaw", "1", "52:54:00:aa:bb:cc", "dev1", "key"], "/run/devvm-frozen"),
    ],
)
def test_a_bad_call_changes_nothing_and_is_one_line(arguments, said):
    done = subprocess.run(
        [sys.executable, "-IS", WARM, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
