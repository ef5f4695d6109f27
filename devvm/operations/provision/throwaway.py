"""VMs that are nobody's: made from a box, checked, used for something, and removed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from devvm.config import VmConfig
from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.errors import LockedError
from devvm.domain.name import is_own
from devvm.domain.vm import Metadata
from devvm.operations.core import own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import new_vm, provision
from devvm.operations.storage import saved_states
from devvm.operations.verify.verify import packages_of
from devvm.ports.services import Services


def checked(
    services: Services,
    box: Box,
    run: Run,
    *,
    prefix: str,
    vm_config: VmConfig,
    title: str,
    then: Callable[[Machine], object] | None = None,
) -> Report:
    """Create a VM from a box, run every check of the suite in it, and remove it.

    Args:
        services: The adapters to use.
        box: The box.
        run: Reports the phases.
        prefix: Of the VM's name, one of `devvm.domain.name.OWN_PREFIXES`.
        vm_config: The VM's size.
        title: What the phase of the checks is called.
        then: What to do with the VM if it passed, before it is removed.

    Raises:
        DevvmError: the VM could not be created, or the suite did not run.
    """
    remove_leftovers(services, run)
    name = f"{prefix}{secrets.token_hex(4)}"
    metadata = Metadata(
        name=name,
        engineer="vagrant",
        release=box.release,
        stack=box.stack,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    packages, packages_from = packages_of(services, box.release, box)
    machine = Machine(services, name)
    start = time.monotonic()
    with services.state.lock(name, run.command):
        try:
            target = new_vm.bring_up(
                machine, box=box, vm_config=vm_config, metadata=metadata, run=run
            )
            with run.phase("verify", title):
                checks = services.verifier.check(
                    target,
                    checks=own_stack.of(services, box.release).checks,
                    detail=run.detail,
                    log=run.log(services.state),
                    packages=packages,
                )
            report = Report(
                vm=name, release=box.release, checks=checks, packages_from=packages_from,
                seconds=round(time.monotonic() - start, 2),
            )  # fmt: skip
            if then is not None and report.passed:
                then(machine)
        finally:
            provision.take_down(machine)
    return report


def remove_leftovers(services: Services, run: Run) -> None:
    """Remove such VMs and volumes if the command that made them was killed: nobody locks them.

    A VM that is ready is a person's: older versions of devvm allowed such names.
    """
    vms = services.domains.vms()
    theirs = {vm.name for vm in vms if vm.metadata is not None and vm.metadata.ready}
    for name in sorted({*services.state.names(), *(vm.name for vm in vms)} - theirs):
        if is_own(name):
            with suppress(LockedError), services.state.lock(name, run.command):
                run.detail(f"removing {name}, left over from a killed command")
                provision.take_down(Machine(services, name))
    saved_states.release(services, leftover_volumes(services))


def leftover_volumes(services: Services) -> set[Path]:
    """Volumes of such VMs, and of frozen ones, that a killed command left.

    Not those below a volume of another VM: its domain may be lost, and its disks all that is left.
    """
    there = {vm.name for vm in services.domains.vms()}
    unused = services.volumes.unused()
    found = [
        volume
        for volume in unused
        if is_own(name := volume.name.partition(".")[0])
        and name not in there
        and services.state.holder(name) is None
    ]
    paths = {volume.path for volume in found}
    others = [volume for volume in services.volumes.all() if volume.path not in paths]
    return paths - saved_states.below(services, [volume.path for volume in others])
