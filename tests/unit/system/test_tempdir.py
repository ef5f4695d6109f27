"""Private folders: removed at the end; after a kill, by the next user."""

import fcntl
import tempfile

import pytest

from devvm.system import tempdir


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_gone_at_the_end(place):
    with tempdir.folder("x") as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(place):
    left = place / "devvm-x-killed"
    left.mkdir()
    (left / "file").write_text("x")
    with tempdir.folder("x"):
        assert not left.exists()


def test_a_living_one_and_another_kind_stay(place):
    other, link = place / "devvm-y-old", place / "devvm-x-link"
    other.mkdir()
    link.symlink_to(other)
    with tempdir.folder("x") as living:
        with tempdir.folder("x"):
            assert living.is_dir()
        assert other.is_dir()
        assert link.is_symlink()


def test_one_that_was_taken_for_a_dead_ones_is_made_anew(place, monkeypatch):
    taken = []

    def flock(descriptor, operation):
        if not taken:  # just before it is locked
            taken.extend(place.iterdir())
            taken[0].rmdir()

    monkeypatch.setattr(fcntl, "flock", flock)
    with tempdir.folder("x") as folder:
        assert [folder] == list(place.iterdir())
        assert folder != taken[0]
