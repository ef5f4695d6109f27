"""A Debian container with a real systemd, made and configured by devvm's own adapters.

One container serves the whole session, and the tests change it in the order of their files: it is
left behind (`test_boot.py`), converged (`test_converge.py`), damaged and mended
(`test_drift.py`), made an engineer's (`test_engineer.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devvm import assets, config
from devvm.adapters.ansible import Ansible
from devvm.adapters.mmdebstrap import Mmdebstrap
from devvm.adapters.nspawn import Nspawn, remove_leftovers
from devvm.adapters.role_declarations import RoleDeclarations
from devvm.adapters.root_tree import RootTrees
from devvm.adapters.testinfra import Testinfra
from devvm.model import AnsibleResult, CheckResult, Outcome, Target

STATE = Path("/var/lib/devvm-test/container")
NAME = "devvm-test-stack"

#: What makes a root file system a virtual machine has no place in a container, nor in production.
NOT_OF_A_CONTAINER = {"guest"}


@dataclass(frozen=True)
class Machine:
    """The container, as devvm sees a machine: through SSH."""

    target: Target
    log: Path

    def apply(self, playbook: str, **variables) -> AnsibleResult:
        """Apply a playbook of devvm's."""
        ansible = Ansible(
            playbooks=assets.playbooks(),
            roles=assets.roles(),
            callback_plugins=assets.callback_plugins(),
        )
        return ansible.apply(
            playbook, self.target, variables=variables, detail=_quiet, log=self.log
        )

    def check(self, overlay: str = "none") -> tuple[CheckResult, ...]:
        """Run the shipped parity suite."""
        suite = Testinfra(suite=assets.parity_suite(), overlay=overlay)
        return suite.check(self.target, detail=_quiet, log=self.log)

    def sh(self, command: str, *, user: str = "root", timeout: float = 90) -> str:
        """Run a shell command there, and return what it prints."""
        remote = shlex.join(["sudo", "-n", "-H", "-u", user, "sh", "-euc", command])
        done = subprocess.run(
            ["ssh", "-F", self.target.ssh_config, self.target.alias, remote],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}[{done.returncode}]"
        return done.stdout


def differences(report: tuple[CheckResult, ...]) -> dict[str, str]:
    """What a report finds otherwise than expected: the check's name and what it says."""
    return {
        result.name: f"{result.outcome.value}: {result.message}"
        for result in report
        if result.outcome is not Outcome.PASSED
    }


@pytest.fixture(scope="session")
def state() -> Iterator[Path]:
    """The tests' folder on this host, for one run at a time; what a killed run left is gone."""
    if os.geteuid() != 0:
        pytest.fail("containers are booted by root: sudo bin/test container", pytrace=False)
    Mmdebstrap().check()  # says which program is missing
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers(NAME)
        for root in STATE.glob("root-*"):
            RootTrees().remove(root)
        yield STATE


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    """Raw output of all tools; pytest keeps the folder of the last runs."""
    return tmp_path_factory.mktemp("container") / "log"


@pytest.fixture(scope="session")
def tarball(state, tmp_path_factory, log) -> Path:
    """A Debian root with the packages that the roles declare, kept from run to run."""
    roles = tmp_path_factory.mktemp("roles")
    for role in assets.roles().iterdir():
        if role.is_dir() and role.name not in NOT_OF_A_CONTAINER:
            (roles / role.name).symlink_to(role)
    packages = RoleDeclarations(roles).packages()
    mirrors = config.load().box
    made_of = json.dumps([packages, mirrors.mirror, mirrors.security_mirror])
    path = state / f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.tar"
    if not path.exists():
        for old in state.glob("*.tar"):
            old.unlink()
        Mmdebstrap().build(
            packages,
            mirror=mirrors.mirror,
            security_mirror=mirrors.security_mirror,
            destination=path,  # appears whole, or not at all
            detail=_quiet,
            log=log,
        )
    return path


@pytest.fixture(scope="session")
def root(state, tarball, log) -> Iterator[Path]:
    """The root file system of the session."""
    with tempfile.TemporaryDirectory(prefix="root-", dir=state) as folder:
        root = Path(folder) / "root"
        RootTrees().unpack(tarball, root, log=log)
        yield root


@pytest.fixture(scope="session")
def machine(root, log) -> Iterator[Machine]:
    """The booted container; shut down in order at the end, whatever failed."""
    console = log.with_name("console")
    with Nspawn().booted(root, name=NAME, detail=_quiet, log=console) as target:
        yield Machine(target, log)


@dataclass(frozen=True)
class Converged:
    """A machine as in production: `playbooks/site.yml`, and nothing else, has been applied."""

    machine: Machine
    first: AnsibleResult


@pytest.fixture(scope="session")
def mirrors() -> dict[str, str]:
    """The variables that the box build gives to the roles as well."""
    box = config.load().box
    return {"base_apt_mirror": box.mirror, "base_apt_security_mirror": box.security_mirror}


@pytest.fixture(scope="session")
def converged(machine, mirrors) -> Converged:
    return Converged(machine, machine.apply("site.yml", **mirrors))


def _quiet(text: str) -> None:
    pass
