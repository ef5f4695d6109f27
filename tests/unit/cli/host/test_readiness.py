import sys

import pytest

from devvm import wiring
from devvm.cli.host import readiness
from devvm.cli.output import Output
from devvm.cli.session import Session
from devvm.config import Config
from devvm.domain.errors import HostNotReadyError
from devvm.system import process
from devvm.system.process import Completed


class Step:
    optional = False

    def __init__(self, key, *, needed=(), needed_only_to_create=False):
        self.key = key
        self.title = f"Doing {key}"
        self.needed_only_to_create = needed_only_to_create
        self.needed = list(needed)

    def missing(self):
        return self.needed

    def apply(self, detail, log):
        self.needed = []


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host without its packages, used by root."""
    steps = [Step("packages", needed=["install x"], needed_only_to_create=True), Step("daemons")]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(readiness.AGREED, raising=False)
    monkeypatch.setattr(wiring, "setup_steps", lambda config: steps)
    monkeypatch.setattr(wiring, "groups_not_yet_in_force", lambda config: [])
    monkeypatch.setattr(readiness.os, "geteuid", lambda: 0)
    return steps


def _session(*argv, **options):
    return Session(Output(**options), argv)


def _terminal(monkeypatch, answer):
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", lambda self, prompt: answer)


def test_looking_at_vms_needs_no_build_tools(host):
    readiness.require(_session("list"), Config())
    host[1].needed = ["start libvirtd"]
    with pytest.raises(HostNotReadyError, match="not ready"):
        readiness.require(_session("list"), Config())


def test_nobody_to_ask_and_no_yes(host):
    with pytest.raises(HostNotReadyError) as caught:
        readiness.ensure(_session("create"), Config(), yes=False)
    assert "- install x" in caught.value.details
    assert caught.value.resolution == "devvm setup --yes"
    assert host[0].needed


def test_yes_shows_the_list_and_goes_on(host, capsys):
    readiness.ensure(_session("create"), Config(), yes=True)
    assert not host[0].needed
    assert capsys.readouterr().err.startswith(
        "devvm needs to set up this host. It will:\n  - install x\n"
    )


@pytest.mark.parametrize(("answer", "applied"), [("", True), ("y", True), ("n", False)])
def test_a_person_is_asked_once(host, monkeypatch, answer, applied):
    _terminal(monkeypatch, answer)
    if applied:
        readiness.ensure(_session("create"), Config(), yes=False)
    else:
        with pytest.raises(HostNotReadyError):
            readiness.ensure(_session("create"), Config(), yes=False)
    assert bool(host[0].needed) is not applied


def test_who_has_agreed_to_the_launcher_is_not_asked_again(host, monkeypatch, capsys):
    monkeypatch.setenv(readiness.AGREED, "1")
    readiness.ensure(_session("create"), Config(), yes=False)
    assert not host[0].needed
    assert "It will" not in capsys.readouterr().err


def test_setup_looks_only_when_told_so(host, cli):
    result = cli("setup", "--check", "--json")
    assert result.code == 4
    assert result.json["ready"] is False
    assert result.json["steps"][0]["needed"] == ["install x"]
    assert cli("setup").code == 4
    assert host[0].needed
    done = cli("setup", "--yes", "--json")
    assert done.code == 0
    assert done.json["ready"] is True
    assert cli("setup").stdout == "This host is ready. Next: devvm create\n"


class Sudo:
    """`sudo` that works at once, after a password, or not at all."""

    def __init__(self, *, quiet_code=1, asked_code=1, installed=True):
        self.quiet_code, self.asked_code, self.installed = quiet_code, asked_code, installed
        self.asked = 0

    def run(self, argv, **options):
        if not self.installed:
            raise HostNotReadyError("sudo is not installed")
        return Completed(argv=tuple(argv), returncode=self.quiet_code, stdout="", stderr="")

    def interactive(self, argv, **options):
        self.asked += 1
        return self.asked_code


@pytest.fixture
def sudo(monkeypatch):
    def install(**options):
        sudo = Sudo(**options)
        monkeypatch.setattr(readiness.os, "geteuid", lambda: 1000)
        monkeypatch.setattr(process, "run", sudo.run)
        monkeypatch.setattr(process, "interactive", sudo.interactive)
        return sudo

    return install


def test_sudo_that_asks_nothing(sudo):
    fake = sudo(quiet_code=0)
    readiness.become_root(_session("setup"), "set up this host")
    assert not fake.asked


def test_sudo_that_asks_for_the_password_once(sudo, monkeypatch):
    _terminal(monkeypatch, "")
    fake = sudo(asked_code=0)
    readiness.become_root(_session("setup"), "set up this host")
    assert fake.asked == 1


@pytest.mark.parametrize(
    ("options", "way_on"),
    [
        ({}, "ask an administrator of this host to run: devvm setup --yes"),
        ({"installed": False}, "as root: apt-get install sudo && adduser YOUR-LOGIN sudo"),
    ],
)
def test_no_way_to_become_root(sudo, options, way_on):
    sudo(**options)
    with pytest.raises(HostNotReadyError, match="needs root to set up this host") as caught:
        readiness.become_root(_session("setup", "--yes"), "set up this host")
    assert caught.value.resolution == way_on


def test_new_groups_are_put_in_force_by_starting_again(host, cli, monkeypatch):
    started = []

    def interactive(argv, *, env):
        started.append((argv, env))
        return 42

    monkeypatch.delenv("DEVVM_REGROUPED", raising=False)
    monkeypatch.setenv("DEVVM_CONFIG", "/dev/null")
    monkeypatch.setattr(wiring, "groups_not_yet_in_force", lambda config: ["libvirt"])
    monkeypatch.setattr(process, "interactive", interactive)
    session = _session("list", "--json")
    with pytest.raises(readiness.typer.Exit) as caught:
        readiness.require(session, Config())
    assert caught.value.exit_code == 42
    argv, env = started[0]
    assert argv == ["sg", "libvirt", "-c", f"{sys.executable} -m devvm list --json"]
    assert env["DEVVM_CONFIG"] == "/dev/null"
    monkeypatch.setenv("DEVVM_REGROUPED", "1")
    with pytest.raises(HostNotReadyError) as still:
        readiness.require(session, Config())
    assert "log out and in again" in still.value.resolution


def test_a_command_on_the_terminal_gets_the_interrupt_alone():
    assert process.interactive(["sh", "-c", "kill -INT $PPID; exit 7"]) == 7


def test_a_host_that_is_not_ready_ends_with_4(cli, services, monkeypatch):
    def refuse(session, config):
        raise HostNotReadyError("this host is not ready", resolution="devvm setup --yes")

    monkeypatch.setattr(readiness, "require", refuse)
    assert cli("list").code == 4
