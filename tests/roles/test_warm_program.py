"""What of the guest's `warm` can be tried outside a VM; tests/vm/test_warm.py has all of it."""

import os
import subprocess
import sys
import time
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


def test_the_age_of_the_process_is_what_it_took_to_get_here():
    began = time.monotonic()
    script = f"import runpy; print(runpy.run_path({str(WARM)!r})['age']())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 0 <= float(done.stdout) <= time.monotonic() - began + 0.02  # in ticks of 10 ms
