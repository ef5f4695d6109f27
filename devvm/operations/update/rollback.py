"""Roll a VM back to the state saved before an update, keeping the work done since."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from devvm.domain.check import Report
from devvm.domain.errors import DevvmError, NotFoundError, OperationError
from devvm.domain.vm import VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import home_backup, ssh
from devvm.operations.provision import provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.update import strategy
from devvm.operations.verify.verify import examine
from devvm.operations.vm import lifecycle, restore


def go_back(machine: Machine, release: str, kept_id: str, run: Run) -> Report:
    """Roll a VM back to the state saved before an update, keeping the work done since.

    The VM's present state goes to the trash. If a call was killed, the next one continues it.

    Args:
        machine: The VM.
        release: The release of that update.
        kept_id: Identifier of the saved state.
        run: Reports the phases.

    Returns:
        The result of checking the VM against the release that it is on again.

    Raises:
        NotFoundError: there is no such VM, or the saved state no longer exists.
        LockedError: another command is changing the VM.
        OperationError: a step failed.
    """
    with transaction.changing(machine, run, start=False) as before:
        vm = lifecycle.present(machine)
        was_off = vm.state is VmState.SHUTOFF and not (before and before.was_running)
        exchange(machine, release, kept_id, run)
        report = _see_it_back(machine, run)
        if was_off:
            vm = lifecycle.present(machine)
            provision.power_off(machine.services, vm, timeout=transaction.STOP_TIMEOUT)
    return report


def exchange(machine: Machine, release: str, kept_id: str, run: Run) -> None:
    """Restore a saved state of a VM, and the work done since. The caller holds the lock."""
    vm = lifecycle.present(machine)
    kept = saved_states.find(machine.services, kept_id, of=vm.fqdn)
    left = not strategy.is_on(vm, release) and not (
        vm.metadata and vm.metadata.restore_point == kept_id
    )
    if left:  # in an earlier call that was killed, or for another release
        pass
    elif kept is not None:
        if vm.state is VmState.SHUTOFF:  # work can be saved only while the VM runs
            with suppress(OperationError):
                lifecycle.power_on(machine, run)
        with run.phase("work", "Carrying over what was written meanwhile"):
            home_backup.save(machine, kept_id, run)
        restore.exchange(machine, kept, run, before=None, consume=True)
        no_update(machine)
    else:
        raise NotFoundError(
            f"the saved state of {machine} to go back to no longer exists",
            details=f"{kept_id} is not in the trash: it expired, or somebody emptied it",
            resolution=f"devvm trash show {machine}",
        )
    home_backup.put_back(machine, run)


def report_back(machine: Machine, run: Run) -> None:
    """Check a VM that was rolled back, and note the result."""
    try:
        report = _see_it_back(machine, run)
    except DevvmError as error:
        run.note(f"{machine} is as it was before, but could not be checked: {error}")
        return
    failures = len(list(report.failures()))
    run.note(
        f"{machine} is back on {report.release}: {len(report.checks) - failures} of "
        f"{len(report.checks)} checks pass"
    )


def no_update(
    machine: Machine, *, release: str | None = None, databases: Mapping[str, str] | None = None
) -> None:
    """End an update in the VM's metadata, and set what the VM is now on."""
    vm = lifecycle.present(machine)
    changed = replace(
        vm.known,
        release=release or vm.known.release,
        databases=vm.known.databases if databases is None else databases,
        update_to="",
        update_by="",
        restore_point="",
    )
    if changed != vm.known:
        machine.services.domains.set_metadata(vm.uuid, changed)
        repair.write_files(machine)


def _see_it_back(machine: Machine, run: Run) -> Report:
    services = machine.services
    vm = lifecycle.present(machine)
    if vm.state is not VmState.RUNNING:
        lifecycle.power_on(machine, run)
    ssh.wait(machine, run)
    release, its_own = lifecycle.present(machine).known.release, services
    if services.releases.find(release) is not None:
        its_own = strategy.of_release(services, release)
    return examine(Machine(its_own, machine.name), release=release, run=run)
