"""Check a box in a VM created from it, which is removed afterwards."""

from __future__ import annotations

from collections.abc import Callable

from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.name import BOX_CHECK
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import throwaway
from devvm.ports.services import Services

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
    # The box is checked as it is, so it is not restored.
    size = services.config.vm.model_copy(
        update={"data_gib": _DATA_GIB, "extra_disks": (), "warm": False}
    )
    return throwaway.checked(
        services, box, run,
        prefix=BOX_CHECK, vm_config=size, title="Checking the box in its VM", then=then,
    )  # fmt: skip
