"""`devvm production capture`: text, JSON, and what it refuses."""

import pytest

from devvm import wiring
from devvm.domain.errors import OperationError
from devvm.parity.collect.capture import Seen
from devvm.parity.differences.compare import Tokens
from devvm.system import assets
from tests.unit.cli.documented import REPOSITORY, documented_for


class Hosts:
    def __init__(self, failing=()):
        self.failing = failing

    def names(self, patterns):
        return tuple(patterns)

    def look(self, host, *, timeout):
        if host in self.failing:
            raise OperationError(f"{host} could not be inspected", details="no answer within 5 s")
        return Seen(host=host, areas={"package": {"a": {"version": host}}}, tokens=Tokens())


@pytest.fixture
def hosts(monkeypatch):
    made = Hosts()
    monkeypatch.setattr(wiring, "production_hosts", lambda config, **_: made)
    return made


def capture(cli, file, *more):
    return cli("production", "capture", "--host", "web1", "--output", str(file), *more)


def test_in_words(cli, hosts, tmp_path):
    done = capture(cli, tmp_path / "m.yml", "--host", "web2")
    assert done.code == 0, done.stderr
    assert "These differ from host to host, and are not compared:\n  package/a: version\n" in (
        done.stdout
    )
    assert f"Wrote 1 item from 2 hosts to {tmp_path}/m.yml" in done.stdout
    assert "0 items changed since the previous manifest" in (
        capture(cli, tmp_path / "m.yml", "--host", "web2").stdout
    )


def test_whose_checks_are_used_is_said_before_a_host_fails(cli, hosts, tmp_path, monkeypatch):
    hosts.failing = ("web1",)
    monkeypatch.chdir(tmp_path)
    lines = capture(cli, tmp_path / "m.yml").stderr.splitlines()
    assert lines[0] == f"With the checks of the stack in {REPOSITORY}"


def test_in_json(cli, hosts, tmp_path):
    done = capture(cli, tmp_path / "m.yml", "--json")
    assert set(done.json) == documented_for("production capture")
    assert done.json["items"] == {"package": 1}


def test_a_host_that_fails(cli, hosts, tmp_path):
    hosts.failing = ("web1",)
    done = capture(cli, tmp_path / "m.yml")
    assert done.code == 1
    assert "web1 could not be inspected, and no manifest was written" in done.stderr
    assert not (tmp_path / "m.yml").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "web1", "--only-if", "sunday"), "'sunday' is not a condition"),
        (("--host", "web1", "--timeout", "0"), "--timeout"),
        (("--host", "web1", "--over", "/no/such"), "/no/such"),
        (("--host", "web1", "--inventory", "/no/such"), "/no/such"),
        ((), "--host"),
        (("--host", "web1", "--output", "/proc/none/m.yml"), "can't be read or written"),
    ],
)
def test_what_is_refused(cli, hosts, options, said):
    done = cli("production", "capture", *options)
    assert done.code == 2
    assert said in done.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=true", "a b", "u:secret@web1", "$(id)", ""])
def test_what_can_be_no_host(cli, host):
    done = cli("production", "capture", "--host", host, "--output", "/tmp/none.yml")
    assert done.code == 2
    assert "can't be a host" in done.stderr


def test_a_package_is_not_written_to(cli, hosts, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "is_packaged", lambda: True)
    done = cli("production", "capture", "--host", "web1")
    assert done.code == 2
    assert "devvm --stack FOLDER production capture" in done.stderr
