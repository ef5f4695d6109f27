"""A real data disk, made without mounting or root, and unreadable for others."""

import json
import shutil
import subprocess

import pytest

from devvm.adapters.image.data_disk import Ext4DataDisks

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("mke2fs", "debugfs", "qemu-img")),
    reason="needs e2fsprogs and qemu-utils",
)


def tool(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    path = folder / "data.qcow2"
    Ext4DataDisks().make(path, 20, {"site.key": "s3cret\n", "ca.crt": "public\n"})
    raw = folder / "data.raw"
    tool("qemu-img", "convert", "-O", "raw", path, raw)
    return path, raw


def test_it_is_large_for_the_guest_and_small_on_the_host(disk):
    path, _ = disk
    info = json.loads(tool("qemu-img", "info", "--output=json", path))
    assert info["format"] == "qcow2"
    assert info["virtual-size"] == 20 * 1024**3
    assert path.stat().st_size < 32 * 1024**2


def test_it_is_a_sound_labelled_ext4(disk):
    _, raw = disk
    tool("e2fsck", "-fn", raw)
    assert "devvm-data" in tool("e2label", raw)


@pytest.mark.parametrize(
    ("path", "mode"),
    [("/identity", "0700"), ("/identity/site.key", "0600"), ("/identity/ca.crt", "0600")],
)
def test_what_is_in_it_is_roots_alone(disk, path, mode):
    _, raw = disk
    stat = tool("debugfs", "-R", f"stat {path}", raw)
    assert f"Mode:  {mode}" in stat
    assert "User:     0   Group:     0" in stat


def test_the_content_is_what_was_given(disk):
    _, raw = disk
    assert tool("debugfs", "-R", "cat /identity/site.key", raw) == "s3cret\n"


def test_only_the_disk_is_left_and_only_its_owner_reads_it(disk):
    path, _ = disk
    assert sorted(p.name for p in path.parent.iterdir()) == ["data.qcow2", "data.raw"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_host_keys_are_made_anew_each_time():
    private, public = Ext4DataDisks().new_host_key("dev1.devvm.test")
    assert private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert public.startswith("ssh-ed25519 ")
    assert public.strip().endswith("dev1.devvm.test")
    assert Ext4DataDisks().new_host_key("dev1.devvm.test")[1] != public
