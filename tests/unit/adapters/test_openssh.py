"""SSH: command lines, errors, keys. `ssh` is a script here; the real one needs a VM."""

import subprocess

import pytest

from devvm.adapters.openssh import OpenSsh, ShellError
from devvm.domain.vm import Target


@pytest.fixture
def target(tmp_path):
    config = tmp_path / "ssh_config"
    config.touch()
    return Target(ssh_config=config, alias="dev1-vagrant")


def test_arguments_arrive_as_they_were_given(ssh, target):
    ssh('while [ "$1" != -- ]; do shift; done; shift; exec sh -c "$*"')  # like sshd
    argv = ["printf", "%s|", "a b", "$HOME", "x;y", "it's"]
    assert OpenSsh().run(target, argv)[1] == "a b|$HOME|x;y|it's|"


def test_text_goes_in_by_standard_input(ssh, target):
    ssh("cat")
    assert OpenSsh().run(target, ["cat"], stdin="secret")[1] == "secret"


def test_a_failed_command_is_said_with_its_output(ssh, target):
    ssh("echo broken >&2; exit 3")
    with pytest.raises(ShellError, match="nginx failed in dev1-vagrant") as caught:
        OpenSsh().run(target, ["/usr/sbin/nginx", "-t"])
    assert caught.value.details == "broken"
    assert "devvm exec dev1 -- /usr/sbin/nginx -t" in caught.value.resolution
    assert OpenSsh().run(target, ["x"], check=False)[0] == 3


def test_a_session_with_the_agent_shares_no_connection(ssh, target, tmp_path):
    ssh(f'echo "$@" >>{tmp_path}/asked')
    OpenSsh().interactive(target, ["ls"])
    OpenSsh().interactive(target, ["ls"], forward_agent=True)
    plain, with_agent = (tmp_path / "asked").read_text().splitlines()
    assert "-A" not in plain
    assert "-A -S none dev1-vagrant" in with_agent


def test_waiting_goes_on_until_it_is_let_in(ssh, target, tmp_path, monkeypatch):
    monkeypatch.setattr("devvm.adapters.openssh._PAUSE", 0)
    ssh(
        f"test -e {tmp_path}/up && exit; touch {tmp_path}/up;"
        "echo 'ssh: connect to host 192.168.219.7 port 22: Connection refused' >&2; exit 255"
    )
    said = []
    OpenSsh().wait(target, timeout=10, detail=said.append)
    assert said == ["waiting for SSH (Connection refused)"]


def test_waiting_ends_with_the_last_reason(ssh, target):
    ssh("echo 'dev1: Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(ShellError, match="can't be reached") as caught:
        OpenSsh().wait(target, timeout=0, detail=lambda _text: None)
    assert "Permission denied" in caught.value.details
    assert caught.value.resolution == "devvm console dev1"


def test_a_stranger_is_never_waited_for(ssh, target):
    ssh("echo 'Host key verification failed.' >&2; exit 255")
    with pytest.raises(ShellError, match="a different host key"):
        OpenSsh().wait(target, timeout=60, detail=lambda _text: None)
    with pytest.raises(ShellError, match="a different host key"):
        OpenSsh().run(target, ["true"])


def test_disconnecting_from_nothing_is_nothing(ssh, target):
    ssh("exit 255")
    OpenSsh().disconnect(target)
    target.ssh_config.unlink()
    OpenSsh().disconnect(target)


def test_a_new_key_is_one_that_vagrant_reads_and_only_its_owner_does(tmp_path):
    path = tmp_path / "id_ecdsa"
    for _ in range(2):  # also replaces an existing one
        public = OpenSsh().new_key(path, "devvm dev1")
    assert public.startswith("ecdsa-sha2-nistp256 ")
    assert public.endswith(" devvm dev1")
    assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    assert path.stat().st_mode & 0o777 == 0o600
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True
    ).stdout
    assert derived.split()[1] == public.split()[1]
