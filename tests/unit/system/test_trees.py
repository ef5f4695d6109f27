"""Folders are removed, but nothing that is mounted in them.

`tests/container/test_killed_build.py` tests this with real mounts.
"""

import errno
import shutil

import pytest

from devvm.domain.errors import OperationError
from devvm.system import trees

LINE = "41 28 0:5 / {} rw,nosuid shared:7 - proc proc rw\n"


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """What the kernel lists as mounted; umount(2) can't find any of it."""
    file = tmp_path / "mountinfo"
    file.write_text("")
    monkeypatch.setattr(trees, "_MOUNTS", file)
    return file


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "build" / "tree"
    (tree / "proc").mkdir(parents=True)
    return tree


def test_a_tree_is_removed_and_what_is_not_there_is_nothing(tree):
    trees.remove(tree)
    assert not tree.exists()
    trees.remove(tree)


def test_a_link_in_it_is_not_followed(tree, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (tree / "link").symlink_to(kept)
    trees.remove(tree)
    assert kept.is_dir()


def test_mounts_are_found_by_their_place(tree, mounts):
    spaced = str(tree / "a b\\c").replace("\\", "\\134").replace(" ", "\\040")
    places = (tree, tree / "proc", spaced, f"{tree}-other", tree.parent, "/")
    mounts.write_text("".join(LINE.format(place) for place in places))
    assert trees.mounted_below(tree) == [tree, tree / "proc", tree / "a b\\c"]


def test_what_stays_mounted_is_named_with_what_to_type(tree, mounts):
    mounts.write_text(LINE.format(tree / "proc"))
    with pytest.raises(OperationError, match="something is mounted in it") as caught:
        trees.remove(tree)
    assert caught.value.details.startswith(f"{tree}/proc: ")
    assert f"sudo umount --lazy {tree}/proc" in caught.value.resolution
    assert (tree / "proc").is_dir()


def test_what_killed_processes_make_in_their_last_moment_goes_too(tree, monkeypatch):
    remove, seen = shutil.rmtree, []

    def rmtree(path):
        seen.append(path)
        if len(seen) == 1:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    trees.remove(tree)
    assert not tree.exists()


def test_no_right_to_remove_is_said_at_once(tree, monkeypatch):
    def rmtree(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(PermissionError):
        trees.remove(tree)
