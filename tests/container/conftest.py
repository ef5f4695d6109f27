"""Debian containers with a real systemd, built and configured by devvm's own adapters.

Most tests share one production container, and change it in the order of their files: a run is
interrupted (`test_boot.py`), the container is converged (`test_converge.py`), damaged and fixed
(`test_drift.py`), and gets back what it lost (`test_restore.py`). Another container becomes an
engineer's (`test_engineer.py`) and gets other packages (`test_update.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devvm.adapters.image.mmdebstrap import Mmdebstrap
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.run import AnsibleResult
from tests.container import reference
from tests.container.reference import DEVELOPMENT, GUEST, OVERLAY, STATE, Machine
from tests.support.reference_stack import REFERENCE

NAME = "devvm-test-stack"
DEV_NAME = "devvm-test-dev"


def differences(report: tuple[CheckResult, ...]) -> dict[str, str]:
    """The failed checks of a report and their messages.

    Ignores packages that Debian's mirrors have updated since the container was made.
    """
    return {
        result.name: f"{result.outcome.value}: {result.message}"
        for result in report
        if result.outcome not in (Outcome.PASSED, Outcome.AHEAD)
    }


@pytest.fixture(scope="session")
def state() -> Iterator[Path]:
    """The tests' folder on this host, locked against other runs; removes what a killed run left."""
    if os.geteuid() != 0:
        pytest.fail("containers are booted by root: sudo bin/test container", pytrace=False)
    Mmdebstrap().check()  # says which program is missing
    with reference.locked(NAME, DEV_NAME):
        yield STATE


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    """Raw output of all tools. pytest keeps the folders of the last runs."""
    return tmp_path_factory.mktemp("container") / "log"


@pytest.fixture(scope="session")
def root(state, log) -> Iterator[Path]:
    """The session's root file system."""
    with reference.unpacked(OVERLAY, log) as root:
        yield root


@pytest.fixture(scope="session")
def machine(root, log) -> Iterator[Machine]:
    """The booted container."""
    with reference.booted(root, NAME, log) as machine:
        yield machine


@dataclass(frozen=True)
class Converged:
    """A machine like production: only `playbooks/site.yml` has been applied."""

    machine: Machine
    first: AnsibleResult


@pytest.fixture(scope="session")
def mirrors() -> dict[str, str]:
    """The variables for mirrors that the box build also passes to the roles."""
    return reference.mirrors()


@pytest.fixture(scope="session")
def converged(machine, mirrors) -> Converged:
    return Converged(machine, machine.apply("site.yml", **mirrors))


@pytest.fixture(scope="session")
def production(converged, tmp_path_factory) -> Path:
    """Production, captured from the converged container today, on this host."""
    folder = tmp_path_factory.mktemp("production")
    # The shipped layers, and what varies in the shipped manifest; no waivers.
    shutil.copytree(REFERENCE.production, folder, dirs_exist_ok=True)
    (folder / "waivers.yml").unlink()
    converged.machine.capture(folder / "manifest.yml")
    return folder


@pytest.fixture(scope="session")
def development(state, log, mirrors) -> Iterator[Machine]:
    """Another converged container, which also has the packages of the dev overlay."""
    with (
        reference.unpacked(GUEST, log) as root,
        reference.booted(root, DEV_NAME, log) as machine,
    ):
        machine = replace(machine, groups=DEVELOPMENT)
        machine.apply("site.yml", **mirrors)
        machine.apply("box.yml", "engineer")  # what isn't specific to virtual machines
        yield machine
