"""Check a box in a VM created from it, which is removed afterwards."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from devvm.config import VmConfig
from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.errors import LockedError
from devvm.domain.name import BOX_CHECK
from devvm.domain.vm import Metadata
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import provision
from devvm.operations.storage import saved_states
from devvm.operations.verify.verify import packages_of
from devvm.ports.services import Services

_NAME = re.compile(rf"{BOX_CHECK}[0-9a-f]{{8}}")
#: Room for the roles' state paths, as they are in the box.
_DATA_GIB = 2


def check(
    services: Services, box: Box, run: Run, *, then: Callable[[Machine], object] | None = None
) -> Report:
    """Create a VM from the box, run every check of the suite in it, and remove it.

    Args:
        services: The adapters to use.
        box: The box.
        run: Reports the phases.
        then: What to do with the VM if it passed, before it is removed.

    Raises:
        DevvmError: the VM could not be created, or the suite did not run.
    """
    _remove_leftovers(services, run)
    name = f"{BOX_CHECK}{secrets.token_hex(4)}"
    config = services.config.vm
    vm_config = VmConfig(
        cpus=config.cpus,
        memory_mib=config.memory_mib,
        root_gib=config.root_gib,
        data_gib=_DATA_GIB,
        driver=config.driver,
        warm=False,  # the box is checked as it is
    )
    metadata = Metadata(
        name=name,
        engineer="vagrant",
        release=box.release,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    packages, packages_from = packages_of(services, box.release, box)
    machine = Machine(services, name)
    start = time.monotonic()
    with services.state.lock(name, run.command):
        try:
            target = provision.bring_up(
                machine, box=box, vm_config=vm_config, metadata=metadata, run=run
            )
            with run.phase("verify", "Checking the box in its VM"):
                checks = services.verifier.check(
                    target,
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


def _remove_leftovers(services: Services, run: Run) -> None:
    """Remove the VMs and volumes of killed checks: those that are not locked.

    A VM that is ready is a person's: older versions of devvm allowed such names.
    """
    vms = services.domains.vms()
    theirs = {vm.name for vm in vms if vm.metadata is not None and vm.metadata.ready}
    for name in sorted({*services.state.names(), *(vm.name for vm in vms)} - theirs):
        if _NAME.fullmatch(name):
            with suppress(LockedError), services.state.lock(name, run.command):
                run.detail(f"removing {name}, left over from a killed check")
                provision.take_down(Machine(services, name))
    there = {vm.name for vm in services.domains.vms()}
    saved_states.release(  # of a warm box whose removal was killed
        services,
        (
            volume.path
            for volume in services.volumes.unused()
            if _NAME.fullmatch(name := volume.name.partition(".")[0])
            and name not in there
            and services.state.holder(name) is None
        ),
    )
