"""What `doctor --fix` does about what it finds; the VM's lock is held."""

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
    """End what a killed command had begun."""
    transaction.end(Machine(services, name), run)


def undo_rebuild(services: Services, kept: SavedState, run: Run) -> None:
    """Undo a rebuild that was killed and whose journal is lost."""
    facts = {"command": run.command, "token": kept.id, "was_running": False}
    services.state.open_journal(kept.vm.name, journal.REBUILD, facts)
    transaction.end(Machine(services, kept.vm.name), run)


def set_journal_aside(services: Services, name: str, _run: Run) -> None:
    """Go on without a journal that can't be read."""
    services.state.set_journal_aside(name)


def rename(services: Services, vm: Vm, fqdn: str, _run: Run) -> None:
    """Give a VM's domain its name back."""
    provision.power_off(services, vm, timeout=transaction.STOP_TIMEOUT)
    services.domains.rename(vm.fqdn, fqdn)
    if vm.state is VmState.RUNNING:
        found = services.domains.vm(vm.name)
        if found is not None:
            services.domains.start(found)


def new_way_in(services: Services, vm: Vm, run: Run) -> None:
    """Make a VM's key and files anew, and have the VM let them in."""
    repair.new_way_in(services, vm, run)
    if vm.state is VmState.RUNNING and vm.metadata is not None:
        machine = Machine(services, vm.name)
        repair.let_in(machine, ssh.target(machine, login="vagrant"), vm.metadata)


def redefine(services: Services, name: str, _run: Run) -> None:
    """Define a domain again that somebody deleted."""
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
    """Move a snapshot of a VM that is gone to the trash, from where it comes back as that VM."""
    saved_states.to_trash(services, kept, f"the snapshot {kept.label}")


def release_lease(services: Services, name: str, _run: Run) -> None:
    """Give a place on the network back."""
    Machine(services, name).release_lease()


def write_files(services: Services, name: str, _run: Run) -> None:
    """Write a VM's files, and reserve its place on the network."""
    repair.write_files(Machine(services, name))


def renew_certificate(services: Services, vm: Vm, run: Run) -> None:
    """Give a VM a certificate that is good for long."""
    certificate.renew(services, vm, run)


def restore_facts(services: Services, name: str, _run: Run) -> None:
    """Write what devvm noted in a domain again."""
    repair.restore_facts(Machine(services, name))


def forget(services: Services, name: str, _run: Run) -> None:
    """Remove the folder of a VM that is not there."""
    services.state.forget(name)


def forget_kept(services: Services, kept: SavedState, _run: Run) -> None:
    """Keep a state no longer that was never really set aside."""
    saved_states.forget_kept(services, kept)
