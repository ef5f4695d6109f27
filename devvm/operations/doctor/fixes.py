"""The fixes of `doctor --fix`. The caller holds the VM's lock."""

from __future__ import annotations

from devvm.domain.saved_state import SavedState
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import journal, naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.ports.services import Services


def end_operation(services: Services, name: str, run: Run) -> None:
    """Finish or undo the operation of a killed command."""
    transaction.end(Machine(services, name), run)


def undo_rebuild(services: Services, kept: SavedState, run: Run) -> None:
    """Undo a rebuild that was killed and whose journal is lost."""
    facts = {"command": run.command, "token": kept.id, "was_running": False}
    services.state.open_journal(kept.vm.name, journal.REBUILD, facts)
    transaction.end(Machine(services, kept.vm.name), run)


def set_journal_aside(services: Services, name: str, _run: Run) -> None:
    """Move a journal that can't be read out of the way."""
    services.state.set_journal_aside(name)


def rename(services: Services, vm: Vm, fqdn: str, _run: Run) -> None:
    """Rename a VM's domain back to its own name."""
    provision.power_off(services, vm, timeout=transaction.STOP_TIMEOUT)
    services.domains.rename(vm.fqdn, fqdn)
    if vm.state is VmState.RUNNING:
        found = services.domains.vm(vm.name)
        if found is not None:
            services.domains.start(found)


def restore_ssh(services: Services, vm: Vm, run: Run) -> None:
    """Recreate a VM's key and files, and authorize the key in the VM."""
    repair.restore_ssh(services, vm, run)
    if vm.state is VmState.RUNNING and vm.metadata is not None:
        machine = Machine(services, vm.name)
        repair.authorize_engineer(machine, ssh.target(machine, login="vagrant"), vm.metadata)


def redefine(services: Services, name: str, _run: Run) -> None:
    """Redefine a domain that somebody deleted."""
    machine = Machine(services, name)
    repair.redefine(machine)
    repair.write_files(machine)


def collect(services: Services, name: str, _run: Run) -> None:
    """Move a VM's orphaned volumes to the trash, where they expire."""
    vm = services.domains.vm(name)
    facts = vm.metadata if vm is not None and vm.metadata else repair.unknown(name)
    lost = tuple(saved_states.lost_volumes(Machine(services, name)))
    saved_states.keep_volumes(services, facts, lost, naming.new_token())


def to_trash(services: Services, kept: SavedState, _run: Run) -> None:
    """Move a snapshot of a VM that is gone to the trash, from where it can be recovered."""
    saved_states.to_trash(services, kept, f"the snapshot {kept.label}")


def release_lease(services: Services, name: str, _run: Run) -> None:
    """Release a VM's DHCP lease."""
    Machine(services, name).release_lease()


def write_files(services: Services, name: str, _run: Run) -> None:
    """Write a VM's files, and reserve its DHCP lease."""
    repair.write_files(Machine(services, name))


def renew_certificate(services: Services, vm: Vm, run: Run) -> None:
    """Renew a VM's certificate."""
    certificate.renew(services, vm, run)


def restore_facts(services: Services, name: str, _run: Run) -> None:
    """Restore devvm's metadata in a domain."""
    repair.restore_facts(Machine(services, name))


def forget(services: Services, name: str, _run: Run) -> None:
    """Remove the folder of a VM that doesn't exist."""
    services.state.forget(name)


def delete_saved_state(services: Services, kept: SavedState, _run: Run) -> None:
    """Forget a saved state whose disks the VM still uses."""
    saved_states.delete(services, kept)
