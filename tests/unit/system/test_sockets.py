import os

import pytest

from devvm.system import sockets

UID = os.getuid()
FOLDERS = sockets.FOLDERS  # before a fixture replaces them


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The two places, of which the first one's parent is not there."""
    there = (tmp_path / "run" / str(UID) / "devvm", tmp_path / f"devvm-{UID}")
    patterns = (f"{tmp_path}/run/%i/devvm", f"{tmp_path}/devvm-%i")
    monkeypatch.setattr(sockets, "FOLDERS", patterns)
    return there


def test_the_folder_is_the_users_alone_whatever_the_umask(places):
    before = os.umask(0)
    try:
        assert sockets.prepare() == places[1]
    finally:
        os.umask(before)
    assert places[1].stat().st_mode & 0o7777 == 0o700


def test_where_there_is_a_folder_for_the_session_it_is_there(places):
    places[0].parent.mkdir(parents=True)
    assert sockets.prepare() == places[0]
    assert not places[1].exists()


def test_sockets_stay(places):
    folder = sockets.prepare()
    (folder / "dev1").touch()
    assert sockets.prepare() == folder
    assert (folder / "dev1").exists()


def test_what_others_could_have_put_there_is_not_used(places):
    places[1].mkdir()
    places[1].chmod(0o770)
    (places[1] / "dev1").touch()
    assert sockets.prepare() == places[1]
    assert list(places[1].iterdir()) == []
    assert places[1].stat().st_mode & 0o7777 == 0o700


def test_somebody_elses_folder_is_neither_used_nor_touched(places, monkeypatch):
    places[1].mkdir(mode=0o777)
    (places[1] / "dev1").touch()
    monkeypatch.setattr(os, "getuid", lambda: UID + 1)
    taken = places[1].with_name(f"devvm-{UID + 1}")
    places[1].rename(taken)
    assert sockets.prepare() is None
    assert (taken / "dev1").exists()


def test_a_link_is_not_followed(places, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    places[1].symlink_to(elsewhere)
    assert sockets.prepare() is None
    assert elsewhere.is_dir()


def test_a_socket_of_any_user_fits_into_a_path():
    longest = max(len(pattern.replace("%i", str(2**32 - 2))) for pattern in FOLDERS)
    name = len("/") + 16 + len("-") + 32  # a hash, and the longest login
    while_made = 17  # what ssh appends
    assert longest + name + while_made < 108
