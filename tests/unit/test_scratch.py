"""Private folders: gone at the end, and after a kill by the next."""

import os
import tempfile
import time

import pytest

from devvm import scratch


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_folder_is_private_and_gone_at_the_end(place):
    with scratch.folder("x") as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(place):
    left = place / "devvm-x-killed"
    left.mkdir()
    (left / "file").write_text("x")
    age(left, 3600)
    with scratch.folder("x"):
        assert not left.exists()


def test_a_living_one_a_young_one_and_another_kind_stay(place):
    young, other, link = place / "devvm-x-young", place / "devvm-y-old", place / "devvm-x-link"
    for path in (young, other):
        path.mkdir()
    age(other, 3600)
    link.symlink_to(other)
    with scratch.folder("x") as living:
        age(living, 3600)
        with scratch.folder("x"):
            assert living.is_dir()
        assert young.is_dir()
        assert other.is_dir()
        assert link.is_symlink()
