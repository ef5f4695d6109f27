"""The invoking user: login, public keys, git identity."""

import os
import subprocess

import pytest

from devvm.adapters.host.invoker import Invoker, read_public_keys, validate_login
from devvm.domain.errors import NotFoundError, UsageError

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDNkZGQzZGRkM2RkZDNkZGQzZGRkM2RkZDNkZGQz"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SUDO_USER", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


@pytest.mark.parametrize("login", ["ann", "_svc", "a-b_c9", "a" * 32])
def test_logins(login):
    assert validate_login(login) == login


@pytest.mark.parametrize("login", ["", "Ann", "9a", "a b", "a;reboot", "../x", "é", "a" * 33, "-a"])
def test_what_no_login_can_be(login):
    with pytest.raises(UsageError):
        validate_login(login)


@pytest.mark.parametrize("login", ["root", "vagrant", "git"])
def test_logins_that_the_vm_has_already(login):
    with pytest.raises(UsageError, match="the VM has an account of that name"):
        validate_login(login)


def test_behind_sudo_it_is_the_one_who_typed_it(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ann")
    assert Invoker().login == "ann"


def test_keys_and_identity_are_found(home):
    (home / ".ssh" / "id_ed25519.pub").write_text(f"{ED} ann@laptop\n")
    (home / ".ssh" / "other.pub").write_text(f"# a comment\n{ED}A\n{ED} ann@laptop\nnot a key\n")
    (home / ".gitconfig").write_text("[user]\n\tname = Ann Lee\n\temail = ann@example.com\n")
    engineer = Invoker().engineer("ann")
    assert engineer.authorized_keys == (f"{ED} ann@laptop", f"{ED}A")
    assert (engineer.git_name, engineer.git_email) == ("Ann Lee", "ann@example.com")


def test_nothing_found_is_no_failure():
    engineer = Invoker().engineer("ann")
    assert engineer.authorized_keys == ()
    assert engineer.git_name == "ann"
    assert engineer.git_email.startswith("ann@")


def test_the_agents_keys_are_found(home, monkeypatch):
    socket = home / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        key = home / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", key], check=True, env=os.environ)
        assert Invoker().engineer("ann").authorized_keys == (
            key.with_suffix(".pub").read_text().strip(),
        )
    finally:
        agent.terminate()
        agent.wait()


def test_a_named_key_stands_instead_of_those_found(home):
    (home / ".ssh" / "id_ed25519.pub").write_text(f"{ED} ann@laptop\n")
    named = home / "named.pub"
    named.write_text(f"{ED}B work\n")
    assert Invoker().engineer("ann", [named]).authorized_keys == (f"{ED}B work",)


def test_a_private_key_is_refused_and_the_public_half_named(home):
    path = home / "id"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n")
    with pytest.raises(UsageError, match="private key") as caught:
        read_public_keys(path)
    assert caught.value.resolution == f"--ssh-key {path}.pub"


@pytest.mark.parametrize("text", ["", "hello", "ssh-rsa short", "ssh-ed25519"])
def test_a_file_without_a_key_is_refused(home, text):
    path = home / "id.pub"
    path.write_text(text)
    with pytest.raises(UsageError, match="holds no public SSH key"):
        read_public_keys(path)


def test_a_missing_file_and_a_folder(home):
    with pytest.raises(NotFoundError):
        read_public_keys(home / "nothing.pub")
    with pytest.raises(UsageError, match="can't be read"):
        read_public_keys(home)
