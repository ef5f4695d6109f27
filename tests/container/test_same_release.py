"""Same release, same packages: build a stack, move the mirror, and build the first release again.

Builds real boxes of a small stack; only libvirt is a stand-in.
"""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import devvm
from devvm.domain.release.identity import same_release
from devvm.system import trees
from tests.container import small_box

pytestmark = pytest.mark.container

#: The offset of the file system on a box's disk, in bytes.
START = 2 * 1024**2
#: Files that differ between builds (docs/decisions/0017): they have the disk's UUID and times.
MADE_ANEW = ("/boot/grub/grub.cfg", "/boot/initrd.img-")


class Site:
    """The folder in which the boxes are built."""

    def __init__(self, folder):
        self._folder = folder
        self.settings = folder / "config.toml"
        small_box.make_stack(folder / "stack")

    def build(self, *release):
        """Build a box; return its folder, and the output."""
        checkout = str(Path(devvm.__file__).parents[1])
        before = set(self._boxes())
        done = subprocess.run(
            [sys.executable, Path(small_box.__file__), self._folder, *release],
            env=os.environ | {"PYTHONPATH": checkout, "DEVVM_CONFIG": str(self.settings)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        (made,) = set(self._boxes()) - before
        return made, done.stdout

    def _boxes(self):
        return [path.parent for path in (self._folder / "state/boxes").glob("*/metadata.json")]


@pytest.fixture
def site(state):
    folder = state / "same-release"
    trees.remove(folder)
    folder.mkdir()
    yield Site(folder)
    trees.remove(folder)


def test_a_release_is_built_again_without_any_mirror_when_that_has_moved(site, tmp_path):
    with small_box.served() as mirror:
        mirror.settings(site.settings)
        first, _ = site.build()
        mirror.stack.move("sudo")
        second, _ = site.build()
    assert second.name != first.name
    old, new = versions(first), versions(second)
    assert {name for name in old if old[name] != new[name]} == {"sudo"}

    files = contents(first, tmp_path)
    trees.remove(first)
    again, said = site.build(first.name)  # the mirror doesn't respond any more
    assert same_release(again.name, first.name), said  # the day is in the name
    assert versions(again) == old
    differing = {path for path, _ in contents(again, tmp_path).items() ^ files.items()}
    assert {path for path in differing if not path.startswith(MADE_ANEW)} == set()
    assert "/etc/small" in files


def versions(box):
    """A box's packages, according to dpkg."""
    return json.loads((box / "metadata.json").read_text())["packages"]


def contents(box, tmp_path):
    """The content of a box's disk: each path's kind, permissions, owner, and hash or target."""
    root = tmp_path / "root"
    root.mkdir()
    image, disk = tmp_path / "box.img", tmp_path / "disk"
    subprocess.run(["tar", "-xf", box / "devvm.box", "-C", tmp_path, image.name], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, disk], check=True)
    command = ["debugfs", "-R", f"rdump / {root}", f"{disk}?offset={START}"]
    subprocess.run(command, check=True, capture_output=True)
    found = {
        str(path)[len(str(root)) :]: _facts(path)
        for place, folders, names in os.walk(root)
        for path in (Path(place, name) for name in (*folders, *names))
    }
    image.unlink()
    disk.unlink()
    trees.remove(root)
    return found


def _facts(path):
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(facts.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        content = ""
    return (facts.st_mode, facts.st_uid, facts.st_gid, content)
