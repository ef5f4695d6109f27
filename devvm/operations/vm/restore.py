"""Restore a saved state of a VM, and save its present one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from devvm.domain.saved_state import DomainChange, Purpose, SavedState
from devvm.domain.vm import Metadata, Vm, VmState
from devvm.operations.core import journal, naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


def exchange(
    machine: Machine,
    kept: SavedState,
    run: Run,
    *,
    before: transaction.Ended | None,
    consume: bool = False,
) -> None:
    """Restore a saved state of a VM; its present state goes to the trash.

    The VM runs afterwards if it ran before. The caller holds the lock.

    Args:
        machine: The VM.
        kept: The state to restore.
        run: Reports the phases.
        before: An earlier command's operation; the VM may be off because of it.
        consume: Whether to delete the saved state, as the VM has it now.

    Raises:
        OperationError: a step failed; the VM has either its old or its new state.
    """
    services, vm = machine.services, machine.require()
    token = naming.new_token()
    was_running = vm.state is VmState.RUNNING or bool(before and before.was_running)
    with transaction.begin(
        machine, journal.RESTORE, run,
        token=token, was_running=was_running, kept=kept.id, consume=consume,
    ):  # fmt: skip
        with run.phase("stop", "Shutting the VM down"):
            provision.power_off(services, vm, timeout=transaction.STOP_TIMEOUT)
        with run.phase("disks", "Swapping the disks"):
            disks = saved_states.put_layers(services, vm.fqdn, kept.disks, token)
            label = f"before going back to {kept.label}"
            saved_states.keep(services, vm, token=token, purpose=Purpose.TRASH, label=label)
            facts = kept.vm if vm.metadata is None else _facts(kept, vm)
            change = DomainChange(disks=disks, facts=facts)
            services.domains.define(services.domains.definition(vm.fqdn), change)
            repair.write_files(machine)
            if consume:
                saved_states.delete(services, kept)
        if was_running:
            lifecycle.power_on(machine, run)


def end(begun: Begun) -> Outcome:
    """Finish a restore if the VM has the new disks, undo it otherwise."""
    machine, services = begun.machine, begun.machine.services
    vm = machine.vm()
    done = vm is not None and transaction.made_by(vm, begun.token)
    if not done:
        before = saved_states.find(services, begun.token)
        if before is not None:
            saved_states.delete(services, before)
        saved_states.delete_created_by(machine, begun.token)
    elif begun.journal["consume"]:
        kept = saved_states.find(services, begun.journal["kept"])
        if kept is not None:
            saved_states.delete(services, kept)
    repair.write_files(machine)
    transaction.start_again(begun)
    return "finished" if done else "undone"


def put_back(machine: Machine, kept: SavedState, token: str) -> None:
    """Give a VM its saved disks and facts back, and delete what an operation put in their place."""
    services, vm = machine.services, machine.vm()
    change = DomainChange(
        name=machine.fqdn,
        uuid=kept.uuid,
        title=f"devvm {machine}",
        disks={disk.role: disk.path for disk in kept.disks},
        facts=kept.vm,
    )
    if vm is not None:
        provision.power_off(services, vm, timeout=0)
    source = saved_states.domain_of(services, kept) if vm is None else machine.fqdn
    services.domains.define(services.domains.definition(source), change)
    saved_states.delete(services, kept)
    saved_states.delete_created_by(machine, token)


def writable(services: Services, kept: SavedState, fqdn: str, token: str) -> dict[str, Path]:
    """Volumes with a saved state that may be written to, by role.

    They are the state's own volumes if nothing is based on them, and new layers otherwise.
    """
    covered = {volume.below for volume in services.volumes.all()}
    shared = [disk for disk in kept.disks if disk.path in covered]
    own = {disk.role: disk.path for disk in kept.disks if disk not in shared}
    return own | saved_states.put_layers(services, fqdn, shared, token)


def _facts(kept: SavedState, vm: Vm) -> Metadata:
    """The saved facts, but with the VM's present identity, keys and pin."""
    now = vm.known
    return replace(
        kept.vm,
        generation=now.generation,
        authorized_keys=now.authorized_keys,
        host_key=now.host_key,
        pinned_until=now.pinned_until,
        pinned_by=now.pinned_by,
        pin_reason=now.pin_reason,
    )
