"""Dotfiles: what is copied to a VM, and what never is."""

import os
import re

import pytest

from devvm.adapters.host import dotfiles
from devvm.adapters.host.invoker import Invoker
from devvm.domain.errors import UsageError
from devvm.domain.vm import HomeFile


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "dotfiles"
    (made / ".config/foot").mkdir(parents=True)
    (made / ".bashrc").write_text("alias ll='ls -l'\n")
    (made / ".config/foot/foot.ini").write_text("font=ä\n")
    return made


def test_files_and_their_modes(folder):
    (folder / "bin").mkdir()
    (folder / "bin/x").write_text("#!/bin/sh\n")
    (folder / "bin/x").chmod(0o4777)
    (folder / ".netrc").write_text("")
    (folder / ".netrc").chmod(0o400)
    (folder / ".bashrc").chmod(0o644)
    (folder / ".config/foot/foot.ini").chmod(0o666)
    (folder / ".git").mkdir()
    (folder / ".git/config").write_bytes(b"\xff")
    assert dotfiles.read(folder) == {
        ".bashrc": HomeFile(text="alias ll='ls -l'\n", mode=0o644),
        ".config/foot/foot.ini": HomeFile(text="font=ä\n", mode=0o644),
        ".netrc": HomeFile(text="", mode=0o600),
        "bin/x": HomeFile(text="#!/bin/sh\n", mode=0o755),
    }


def link_out(folder):
    (folder / ".hidden").symlink_to("/etc/passwd")


def link_to_a_folder(folder):
    (folder / ".ssh").symlink_to("/etc")


def pipe(folder):
    os.mkfifo(folder / "pipe")


def binary(folder):
    (folder / "x.png").write_bytes(b"\x89PNG\xff")


def private_key(folder):
    (folder / ".ssh").mkdir()
    (folder / ".ssh/id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")


def keys(folder):
    (folder / ".ssh").mkdir()
    (folder / ".ssh/authorized_keys").touch()


def many(folder):
    for number in range(200):
        (folder / f"{number}").touch()


def large(folder):
    (folder / "large").write_text("x" * (256 * 1024 + 1))


def odd_name(folder):
    (folder / "a\nb").touch()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (link_out, ".hidden is a link"),
        (link_to_a_folder, ".ssh is a link"),
        (pipe, "pipe is not a file"),
        (binary, "x.png is not text"),
        (private_key, ".ssh/id_ed25519 is a private key"),
        (keys, "'.ssh/authorized_keys' can't be copied"),
        (many, "more than 200 files"),
        (large, "256 KiB"),
        (odd_name, "'a\\nb' can't be copied"),
    ],
)
def test_what_does_not_belong_in_a_vm_is_refused(folder, harm, said):
    harm(folder)
    with pytest.raises(UsageError, match=f"the dotfiles in {re.escape(str(folder))}") as caught:
        dotfiles.read(folder)
    assert said in caught.value.details
    assert "\n" not in caught.value.details


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="can't be used") as caught:
        dotfiles.read(tmp_path / "none")
    assert "No such file" in caught.value.details


def test_the_home_directory_is_the_person_s(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.delenv("SUDO_USER", raising=False)
    engineer = Invoker().engineer("ann", dotfiles=type(folder)("~/dotfiles"), shell="/bin/zsh")
    assert ".bashrc" in engineer.files
    assert engineer.shell == "/bin/zsh"
