"""Repair VMs that have lost their folder, key, Vagrant files, DHCP lease or domain.

libvirt knows nearly everything about a VM. What it doesn't know is recreated, and a domain that was
deleted in libvirt is redefined from the saved copy of its definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devvm.domain.disk import DATA, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.saved_state import DomainChange
from devvm.domain.vm import Metadata, Target, Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.storage import saved_states
from devvm.ports.services import Services
from devvm.system.state import write_atomic

DEFINITION = ssh.DEFINITION
_HOST_KEY_IN_GUEST = "/etc/ssh/ssh_host_ed25519_key.pub"


def write_files(machine: Machine) -> None:
    """Write a VM's files from its domain as it is now; do nothing if its key is lost."""
    services = machine.services
    vm, public_key = machine.vm(), ssh.own_key(machine)
    if vm is None or vm.metadata is None or public_key is None:
        return
    lease = machine.reserve_lease(vm.mac)
    if vm.metadata.host_key:
        ssh.write_ssh_files(services, vm.metadata, lease)
    ssh.write_vagrant_files(services, vm, lease, public_key)
    definition = services.domains.definition(vm.fqdn)
    write_atomic(machine.folder / DEFINITION, definition)


@contextmanager
def definition_changes(machine: Machine) -> Iterator[None]:
    """Remove the saved definition of a VM's domain while the block changes its disks.

    If the block is killed and the domain then deleted, no leftover volume is mistaken for the
    newest.
    """
    (machine.folder / DEFINITION).unlink(missing_ok=True)
    try:
        yield
    finally:
        write_files(machine)


def restore_ssh(services: Services, vm: Vm, run: Run) -> None:
    """Restore SSH access to a VM for devvm's account; `authorize_engineer`, for the engineer's.

    Whoever may change the VM's domain may do so.

    Raises:
        OperationError: the VM's host key is unknown, and its guest agent doesn't report it.
    """
    machine = Machine(services, vm.name)
    metadata = vm.known
    running = vm.state is VmState.RUNNING
    public_key = ssh.own_key(machine)
    if public_key is None:
        # Not used until the VM knows it: if this is killed, the next call creates another one.
        public_key = ssh.prepare_key(machine)
        definition = services.domains.definition(vm.fqdn)
        oem_string = ssh.oem_string(public_key)
        services.domains.define(definition, DomainChange(oem_string=oem_string))
        if running and not services.domains.authorize_key(vm.fqdn, "vagrant", public_key):
            run.note(f"{vm.name} gets the new key at its next start: devvm restart {vm.name}")
        ssh.take_key(machine)
    if not metadata.host_key:
        metadata = replace(metadata, host_key=_host_key(services, vm))
        services.domains.set_metadata(vm.uuid, metadata)
    write_files(machine)


def authorize_engineer(machine: Machine, target: Target, metadata: Metadata) -> None:
    """Authorize devvm's key for the account of a VM's engineer.

    Raises:
        OperationError: devvm can't log in to the VM.
    """
    public_key = ssh.own_key(machine)
    if public_key is not None and metadata.ready:
        ssh.admit(machine.services, target, metadata.engineer, public_key)


def redefine(machine: Machine) -> Vm | None:
    """Redefine a VM's domain that somebody deleted, from its disks and its saved definition.

    Returns:
        The VM, which is off; None if it can't be redefined.
    """
    services = machine.services
    saved = machine.folder / DEFINITION
    if not saved.is_file():
        return None
    if services.domains.uuid(machine.fqdn) is not None:
        return None  # somebody else uses the name by now
    definition = saved.read_text(encoding="utf-8")
    disks = _newest(machine, services.domains.disks_in(definition))
    if DATA not in disks:
        return None
    services.domains.define(definition, DomainChange(disks=disks))
    return machine.vm()


def _newest(machine: Machine, saved: tuple[DomainDisk, ...]) -> dict[str, Path]:
    """The volumes that a lost VM had last, by role, as far as that is certain.

    Each is the one in the saved definition, or the only layer on top of it; a killed purge may have
    left older ones.
    """
    tops = saved_states.lost_volumes(machine)
    found: dict[str, Path] = {}
    for disk in saved:
        of_role = [top for top in tops if top.role == disk.role]
        on_top = [
            top
            for top in of_role
            if disk.path in saved_states.layers_under(machine.services, [top])
        ]
        candidates = on_top or of_role
        if len(candidates) == 1:
            found[disk.role] = candidates[0].path
    return found


def unknown(name: str) -> Metadata:
    """The facts of a VM of which only the name is known."""
    return Metadata(name=name, engineer="", release="", created_at="", ready=False)


def _host_key(services: Services, vm: Vm) -> str:
    known_hosts = services.state.vm(vm.name) / "known_hosts"
    if known_hosts.is_file():  # an older VM, whose domain doesn't have the key
        return " ".join(known_hosts.read_text(encoding="utf-8").split()[1:3])
    answer = None
    if vm.state is VmState.RUNNING:  # trusted, as the agent's channel stays on the host
        answer = services.domains.read_file(vm.fqdn, _HOST_KEY_IN_GUEST)
    if not answer:
        raise OperationError(
            f"the host key of {vm.name} is unknown, and its guest agent doesn't report it",
            details=f"it is {vm.state}; devvm can ask it for the key while it runs",
            resolution=f"devvm start {vm.name}, then: devvm doctor --fix",
        )
    return " ".join(answer.split()[:2])


def restore_facts(machine: Machine) -> None:
    """Restore the facts that a domain has lost, from its saved definition."""
    saved = machine.folder / DEFINITION
    machine.services.domains.define(saved.read_text(encoding="utf-8"), DomainChange())
