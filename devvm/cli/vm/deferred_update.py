"""The update of a VM that was off during a rollout, when the VM is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devvm.cli import formatting, serializers
from devvm.cli.session import Session
from devvm.domain.errors import DevvmError

if TYPE_CHECKING:
    from devvm.domain.vm import Vm
    from devvm.operations.core.progress import Run
    from devvm.ports.services import Services


def bring(
    session: Session, services: Services, vm: Vm, run: Run, *, wanted: bool
) -> dict[str, Any] | None:
    """Update a VM that has just been started, if it is due for an update.

    A failed update is reported but does not fail the command: the VM is running, as requested.

    Args:
        session: The session of the command.
        services: For the update.
        vm: The VM that was started.
        run: Records the phases.
        wanted: Whether to update it now; if False, the update stays due.

    Returns:
        The result as JSON; None if no update is due.
    """
    from devvm import wiring
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
        f"was not running during the rollout {rollout}"
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
        return {"release": release, "result": "failed", "error": serializers.error(error)}
    session.output.note(f"{vm.name} is on {release}")
    return {"release": release, "result": "done", "error": None}
