"""The command line, with operations that return what a test tells them to."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from devvm.cli.app import main
from devvm.cli.host import readiness
from devvm.config import Config
from devvm.domain.box import Box
from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.vm import Driver, Engineer, Lease, Metadata, Vm, VmState
from tests.support.reference_stack import REFERENCE

RELEASE = "2026.11.23-1a2b3c4d5e6f"


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.stdout)


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Run a command in this process, unaffected by the user's configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DEVVM_CONFIG", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv: str) -> Result:
        code = main(list(argv))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Result(code, captured.out, captured.err)

    return run


class FakeServices:
    """What commands themselves read; tests replace the operations."""

    config = Config()
    stack = REFERENCE


@pytest.fixture
def services(monkeypatch):
    """A host that is ready, with services that have nothing real behind them."""
    from devvm import wiring

    made = FakeServices()
    monkeypatch.setattr(readiness, "require", lambda session, config: None)
    monkeypatch.setattr(readiness, "ensure", lambda session, config, *, yes: None)
    monkeypatch.setattr(wiring, "build_services", lambda config: made)
    monkeypatch.setattr(wiring, "invoker", lambda: FakeInvoker("jane"))
    return made


@pytest.fixture
def typed_by(monkeypatch):
    """Run commands as somebody other than jane."""
    from devvm import wiring

    return lambda login: monkeypatch.setattr(wiring, "invoker", lambda: FakeInvoker(login))


@dataclass(frozen=True)
class FakeInvoker:
    login: str

    def engineer(self, login, key_files=(), *, shell=None, dotfiles=None):
        return Engineer(login=login, authorized_keys=(), git_name=login, git_email=f"{login}@h")


@pytest.fixture
def vm():
    return Vm(
        name="dev1",
        fqdn="dev1.devvm.test",
        uuid="11111111-2222-3333-4444-555555555555",
        state=VmState.RUNNING,
        driver=Driver.KVM,
        memory_mib=2048,
        cpus=2,
        metadata=Metadata(
            name="dev1",
            engineer="jane",
            release=RELEASE,
            created_at="2026-11-23T02:00:00+00:00",
            ready=True,
        ),
        lease=Lease(mac="52:54:00:00:00:01", address="192.168.219.10", fqdn="dev1.devvm.test"),
    )


@pytest.fixture
def report():
    return Report(
        vm="dev1",
        release=RELEASE,
        seconds=12.5,
        checks=(
            CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED),
            CheckResult(
                name="unit/redis-server.service", role="redis", outcome=Outcome.FAILED,
                message="redis-server is inactive",
            ),
        ),
    )  # fmt: skip


@pytest.fixture
def box():
    return Box(
        release=RELEASE,
        path=Path(f"/var/lib/devvm/boxes/{RELEASE}/devvm.box"),
        sha256="ab" * 32,
        built_at="2026-11-23T01:00:00+00:00",
        size_bytes=900 * 1024**2,
        verified=True,
        debian="12.12",
        packages={"nginx": "1.22.1-9"},
    )


@pytest.fixture
def world(monkeypatch, tmp_path, services):
    """A host in memory with a fleet, for commands to act on."""
    from devvm import wiring
    from devvm.cli.rollout import look, runner
    from tests.support.fleet_world import FleetWorld

    world = FleetWorld(tmp_path / "world")
    monkeypatch.setattr(wiring, "build_services", lambda config: world.services)
    monkeypatch.setattr(wiring, "messenger", lambda config: world.messenger, raising=False)
    monkeypatch.setattr(look, "_FOLLOW_EVERY", 0.02)
    monkeypatch.setattr(runner, "_LOOK_EVERY", 0.05)
    return world


@pytest.fixture
def dev(world):
    """A host with dev001, which belongs to ann."""
    world.fleet(1)
    return world
