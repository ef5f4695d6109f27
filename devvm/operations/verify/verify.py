"""Check a VM with the parity suite."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.errors import NotFoundError, OperationError
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.verify import last_result
from devvm.ports.services import Services

#: Seconds until a VM that fails its checks is checked again.
_SECOND_LOOK = 20.0


def verify(services: Services, name: str, run: Run, *, junit: Path | None = None) -> Report:
    """Check the VM `name`, and record the run.

    Args:
        services: The adapters to use.
        name: The VM's name.
        run: Reports the phases.
        junit: A file for the results as JUnit XML.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running, or the suite could not run on it. Failed checks are not
            an error: they are in the report.
    """
    machine = Machine(services, name)
    vm = services.domains.vm(name)
    if vm is None:
        raise NotFoundError(
            f"there is no VM {name}", resolution=f"devvm list, or devvm create {name}"
        )
    require_running(vm)
    release = vm.metadata.release if vm.metadata else "unknown"
    result = "failed"
    try:
        report = examine(machine, release=release, run=run, junit=junit)
        result = "done" if report.passed else "failed"
    finally:
        services.state.add_run(name, run.record(result))
    return report


def require_running(vm: Vm) -> Vm:
    """The VM, which must be running to be checked.

    Raises:
        OperationError: it is not.
    """
    if vm.state is not VmState.RUNNING:
        raise OperationError(
            f"{vm.name} is not running",
            details=f"it is {vm.state}, and only a running VM can be checked",
            resolution=f"devvm start {vm.name}",
        )
    return vm


def examine(machine: Machine, *, release: str, run: Run, junit: Path | None = None) -> Report:
    """Check a machine that devvm can log in to, as the phase `verify` of a larger command.

    The result is stored in the VM's folder, for `devvm list`.

    Raises:
        OperationError: the suite could not run.
    """
    services, target = machine.services, ssh.target(machine, login="vagrant")
    start = time.monotonic()
    packages, packages_from = packages_of(services, release)
    with run.phase("verify", f"Checking {machine}"):
        checks = services.verifier.check(
            target,
            checks=own_stack.of(services, release).checks,
            detail=run.detail,
            log=run.log(services.state),
            packages=packages,
            junit=junit,
        )
    seconds = round(time.monotonic() - start, 2)
    report = Report(
        vm=machine.name,
        release=release,
        checks=checks,
        seconds=seconds,
        packages_from=packages_from,
    )
    last_result.keep(services.state, report)
    return report


def examine_twice(machine: Machine, *, release: str, run: Run) -> Report:
    """Like `examine`, but check once more if something fails.

    On a busy host, a guest that has just booted or restarted its services may respond too late, and
    a VM that fails is rolled back.
    """
    report = examine(machine, release=release, run=run)
    if report.passed:
        return report
    failed = len(list(report.failures()))
    run.note(f"{machine} fails {failed} of {len(report.checks)} checks; checking once more")
    machine.services.pause(_SECOND_LOOK)
    return examine(machine, release=release, run=run)


def packages_of(
    services: Services, release: str, box: Box | None = None
) -> tuple[Mapping[str, str] | None, Literal["box", "record"] | None]:
    """The package versions of a release, and their source; None if they are unknown.

    Args:
        services: The adapters to use.
        release: The release.
        box: Its box, if it isn't registered yet; by default, the registered one.
    """
    box = box or services.boxes.find(release)
    if box and box.packages:
        return box.packages, "box"
    record = services.releases.find(release)
    if record and record.packages:
        return record.packages, "record"
    return None, None
