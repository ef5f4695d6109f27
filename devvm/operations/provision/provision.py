"""What operations that create a VM share: its identity, a name for its root, how to undo it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devvm.domain.disk import ROOT
from devvm.domain.vm import Metadata, Vm, VmState
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate
from devvm.operations.storage import saved_states
from devvm.ports.services import Services

_HOST_KEY = "ssh_host_ed25519_key"


def name_root(machine: Machine, token: str) -> Vm:
    """Move a new VM's root to a volume with a unique name.

    vagrant-libvirt always gives it the same name, so no VM of this name could be created while this
    root is in the trash.
    """
    services, vm = machine.services, machine.require()
    first = naming.first_root_of(vm.fqdn)
    if vm.root is None or vm.root.name != first:
        return vm
    below = next(v.below for v in services.volumes.all() if v.path == vm.root)
    assert below is not None
    moved = saved_states.put_root(services, vm.fqdn, below, token, vm.root)
    services.disks.move(vm, ROOT, moved[ROOT])
    services.volumes.remove(first)
    return machine.require()


def take_down(machine: Machine) -> None:
    """Undo `new_vm.bring_up`, or another operation that creates a VM; nothing goes to the trash.

    Safe to run again, from any state that a killed command left. Leaves alone a domain of this name
    that devvm didn't create, and volumes that this operation didn't create.
    """
    services = machine.services
    journal = machine.journal() or {}
    ssh.disconnect(machine)
    if _is_ours(machine, journal):
        below = _layers_under(machine)  # those of a spare are nobody else's
        services.domains.remove(machine.fqdn)
        first = services.config.pool_path / naming.first_root_of(machine.fqdn)
        saved_states.release(services, [first, *below])
        if "token" in journal:
            saved_states.delete_created_by(machine, journal["token"])
    machine.release_lease()
    services.state.forget(machine.name)


@contextmanager
def recorded(machine: Machine, run: Run) -> Iterator[None]:
    """Record the run's phases and durations with the VM, however the block ends."""
    result = "failed"
    try:
        yield
        result = "done"
    except KeyboardInterrupt:
        result = "interrupted"
        raise
    finally:
        machine.services.state.add_run(machine.name, run.record(result))


def new_identity(services: Services, fqdn: str) -> Mapping[str, str]:
    """Create the files of a machine's identity; the private keys exist nowhere else."""
    private_key, public_key = services.data_disks.new_host_key(fqdn)
    authority = services.ca.ensure().read_text(encoding="utf-8")
    site_key, site_chain = services.ca.issue(fqdn)
    return {
        _HOST_KEY: private_key,
        f"{_HOST_KEY}.pub": public_key,
        "site.key": site_key,
        "site.crt": site_chain,
        "ca.crt": authority,
    }


def known_by(services: Services, facts: Metadata, identity: Mapping[str, str]) -> Metadata:
    """The facts of a VM, with the host key of an identity and the day its certificate expires."""
    return replace(
        facts,
        host_key=" ".join(identity[f"{_HOST_KEY}.pub"].split()[:2]),
        certificate_until=certificate.end_of(services, identity["site.crt"]),
    )


def power_off(services: Services, vm: Vm, *, timeout: float) -> None:
    """Shut a VM down, forcing it off after `timeout` seconds; do nothing if it is off."""
    if vm.state is not VmState.SHUTOFF:
        ssh.disconnect(Machine(services, vm.name))
        services.domains.shutdown(vm, timeout=timeout, force=True)


def _is_ours(machine: Machine, journal: Mapping[str, object]) -> bool:
    """Whether the domain of this name, if there is one, is devvm's or a killed create's."""
    found = machine.services.domains.uuid(machine.fqdn)
    return found is None or journal.get("uuid") == found or machine.vm() is not None


def _layers_under(machine: Machine) -> set[Path]:
    services = machine.services
    if services.domains.uuid(machine.fqdn) is None:
        return set()
    disks = services.domains.disks_in(services.domains.definition(machine.fqdn))
    return saved_states.layers_under(services, disks)
