"""Debian containers with a real systemd, built and configured by devvm's own adapters.

Most tests share one production container, and change it in the order of their files: it must
survive an interrupted run (`test_boot.py`), is converged (`test_converge.py`), and is damaged and
fixed (`test_drift.py`). Another container becomes an engineer's (`test_engineer.py`) and gets
other packages (`test_update.py`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devvm.adapters.image.mmdebstrap import Mmdebstrap
from devvm.adapters.image.nspawn import remove_leftovers
from devvm.adapters.image.root_tree import RootTrees
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.run import AnsibleResult
from devvm.system import assets
from tests.container import reference
from tests.container.reference import GUEST, OVERLAY, STATE, Machine

NAME = "devvm-test-stack"
DEV_NAME = "devvm-test-dev"


def differences(report: tuple[CheckResult, ...]) -> dict[str, str]:
    """What a report finds otherwise than expected: the check's name and what it says.

    Not what Debian's mirrors had when the container was made, and another day would have otherwise.
    """
    return {
        result.name: f"{result.outcome.value}: {result.message}"
        for result in report
        if result.outcome not in (Outcome.PASSED, Outcome.AHEAD)
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
        for name in (NAME, DEV_NAME):
            remove_leftovers(name)
        for root in STATE.glob("root-*"):
            RootTrees().remove(root)
        yield STATE


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    """Raw output of all tools; pytest keeps the folder of the last runs."""
    return tmp_path_factory.mktemp("container") / "log"


@pytest.fixture(scope="session")
def root(state, log) -> Iterator[Path]:
    """The root file system of the session."""
    with reference.unpacked(OVERLAY, log) as root:
        yield root


@pytest.fixture(scope="session")
def machine(root, log) -> Iterator[Machine]:
    """The booted container."""
    with reference.booted(root, NAME, log) as machine:
        yield machine


@dataclass(frozen=True)
class Converged:
    """A machine as in production: `playbooks/site.yml`, and nothing else, has been applied."""

    machine: Machine
    first: AnsibleResult


@pytest.fixture(scope="session")
def mirrors() -> dict[str, str]:
    """The variables that the box build gives to the roles as well."""
    return reference.mirrors()


@pytest.fixture(scope="session")
def converged(machine, mirrors) -> Converged:
    return Converged(machine, machine.apply("site.yml", **mirrors))


@pytest.fixture(scope="session")
def production(converged, tmp_path_factory) -> Path:
    """What production is, captured from the converged container: of this day, on this host."""
    folder = tmp_path_factory.mktemp("production")
    # The shipped layers, and of the manifest what varies; no waivers.
    shutil.copytree(assets.production(), folder, dirs_exist_ok=True)
    (folder / "waivers.yml").unlink()
    converged.machine.capture(folder / "manifest.yml")
    return folder


@pytest.fixture(scope="session")
def development(state, log, mirrors) -> Iterator[Machine]:
    """Another container, with the packages of the dev overlay too, converged."""
    with (
        reference.unpacked(GUEST, log) as root,
        reference.booted(root, DEV_NAME, log) as machine,
    ):
        machine.apply("site.yml", **mirrors)
        machine.apply("box.yml", "engineer")  # of its image what is not a virtual machine's
        yield machine
