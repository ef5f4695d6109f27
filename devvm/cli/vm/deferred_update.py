"""A VM that starts, and was off when its rollout came by: brought to the release then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devvm.cli import formatting
from devvm.cli.session import Session
from devvm.domain.errors import DevvmError

if TYPE_CHECKING:
    from devvm.domain.model import Vm
    from devvm.operations.core.progress import Run
    from devvm.ports.services import Services


def bring(
    session: Session, services: Services, vm: Vm, run: Run, *, wanted: bool
) -> dict[str, Any] | None:
    """Bring a VM that has been started to the release that it is due for.

    A failure is told and is none of the command's: the VM was to be started, and is.

    Args:
        session: The command's.
        services: What operations may use.
        vm: It.
        run: Where phases go.
        wanted: Whether the person wants that now.

    Returns:
        What came of it, for JSON; None where the VM may stay on its release.
    """
    from devvm import wiring
    from devvm.cli.output import error_data
    from devvm.operations.rollout import deferred

    release = deferred.due(vm, formatting.today())
    if release is None:
        return None
    if not wanted:
        session.output.note(
            f"{vm.name} was not updated to {release} yet. Next: devvm update {vm.name}"
        )
        return {"release": release, "result": "put off", "error": None}
    rollout = vm.known.update_by
    why = (
        f"was off during the rollout {rollout}"
        if rollout
        else "was being updated when that was interrupted"
    )
    session.output.note(f"{vm.name} {why}; updating it to {release} now")
    try:
        deferred.bring(services, vm.name, run, by=wiring.invoker().login)
    except DevvmError as error:
        session.output.note(f"{error.brief}. It is running, as before the update.", style="yellow")
        for line in (error.details or "").splitlines():
            session.output.note(f"  {line}")
        if error.log:
            session.output.note(f"Log: {error.log}")
        return {"release": release, "result": "failed", "error": error_data(error)}
    session.output.note(f"{vm.name} is on {release}")
    return {"release": release, "result": "done", "error": None}
