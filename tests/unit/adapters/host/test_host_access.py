import subprocess
from pathlib import Path

import pytest

from devvm.adapters.host import host_access
from devvm.adapters.host.host_access import (
    Groups,
    NameResolution,
    PathLink,
    StateFolder,
    with_groups,
)
from devvm.system import process
from devvm.system.process import Completed

LOG = Path("/dev/null")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hosts: files dns\n", "hosts:          files libvirt_guest dns\n"),
        (
            "passwd: files\nhosts:\tfiles mdns4_minimal [NOTFOUND=return] dns # x\nnet: files\n",
            (
                "passwd: files\nhosts:          files libvirt_guest mdns4_minimal "
                "[NOTFOUND=return] dns\nnet: files\n"
            ),
        ),
        ("hosts: dns\n", "hosts:          libvirt_guest dns\n"),
        ("hosts: files libvirt_guest dns\n", "hosts: files libvirt_guest dns\n"),
        ("# hosts: files dns\n", "# hosts: files dns\nhosts:          files libvirt_guest dns\n"),
        ("", "hosts:          files libvirt_guest dns\n"),
    ],
)
def test_guests_come_right_after_files(before, after):
    assert host_access.with_guests(before) == after
    assert host_access.with_guests(after) == after


@pytest.fixture
def direct(monkeypatch):
    """Run commands without sudo; the test owns its files."""
    real = process.run

    def run(argv, *, sudo=False, **options):
        return real(argv, **options)

    monkeypatch.setattr(process, "run", run)


def test_nsswitch_is_replaced_whole_and_the_old_one_kept(tmp_path, direct):
    path = tmp_path / "nsswitch.conf"
    path.write_text("hosts: files dns\n")
    step = NameResolution(path)
    assert step.missing() == [f"add libvirt_guest to hosts in {path}"]
    step.apply(lambda _: None, LOG)
    step.apply(lambda _: None, LOG)
    assert step.missing() == []
    assert path.read_text() == "hosts:          files libvirt_guest dns\n"
    assert (tmp_path / "nsswitch.conf.before-devvm").read_text() == "hosts: files dns\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_is_put_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    launcher = tmp_path / "clone" / "bin" / "devvm"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    link = tmp_path / "bin" / "devvm"
    step = PathLink(launcher, tmp_path / "bin")
    assert step.missing() == [f"put devvm on the PATH: {link} -> {launcher}"]
    step.apply(lambda _: None, LOG)
    assert link.readlink() == launcher
    assert step.missing() == []


def test_a_link_to_a_clone_that_is_gone_is_replaced_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    link = tmp_path / "devvm"
    link.symlink_to(tmp_path / "gone")
    step = PathLink(tmp_path / "new", tmp_path)
    assert step.missing()
    step.apply(lambda _: None, LOG)
    assert link.readlink() == tmp_path / "new"
    link.unlink()
    link.write_text("somebody's own")
    assert step.missing() == []


def test_root_needs_no_group():
    assert Groups("root").missing() == []
    assert Groups("root").not_yet_in_force() == []


def test_a_person_outside_the_groups_is_added(monkeypatch):
    commands = []

    def run(argv, **options):
        commands.append(list(argv))
        return Completed(argv=tuple(argv), returncode=0, stdout="", stderr="")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(host_access, "_member_of", lambda login: {"kvm"})
    step = Groups("jane")
    assert step.missing() == ["add jane to the group libvirt"]
    step.apply(lambda _: None, LOG)
    assert commands[-1] == ["usermod", "-aG", "libvirt", "jane"]


def test_groups_of_after_the_login_are_found(monkeypatch):
    monkeypatch.setattr(host_access, "_member_of", lambda login: {"jane", "kvm", "libvirt"})
    monkeypatch.setattr(host_access, "_group_ids", lambda: {"libvirt": 104, "kvm": 105})
    monkeypatch.setattr(host_access.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host_access.os, "getgroups", lambda: [1000, 105])
    assert Groups("jane").not_yet_in_force() == ["libvirt"]


def test_a_command_in_groups_keeps_its_arguments():
    argv = with_groups(["printf", "%s.", "a b", "$x", "'"], ["libvirt", "kvm"])
    assert argv[:3] == ["sg", "kvm", "-c"]
    inner = subprocess.run(
        ["sh", "-c", f"sg() {{ shift 2; sh -c \"$1\"; }}; {argv[3]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert inner.stdout == "a b.$x.'."


def test_the_state_folder_is_looked_at_with_all_it_holds(tmp_path, monkeypatch):
    root = tmp_path / "devvm"
    step = StateFolder(root)
    assert step.missing() == [f"create the folder {root} for the group libvirt"]
    monkeypatch.setattr(host_access, "_group_ids", lambda: {"libvirt": tmp_path.stat().st_gid})
    monkeypatch.setattr(host_access.os, "geteuid", lambda: 0)
    for name in ("", "boxes", "ca", "locks", "logs", "vms"):
        (root / name).mkdir()
        (root / name).chmod(0o2770)
    assert step.missing() == []
    (root / "vms").chmod(0o755)
    assert step.missing() == [f"share the folder {root} with the group libvirt"]
