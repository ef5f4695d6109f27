"""Bring a VM up on a box, and take one down: what create, the box's verification and others share.

`bring_up` leaves a journal open: the caller closes it when all is well, or undoes everything with
`take_down`, now or when the next command finds the journal.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devvm.config import VmConfig
from devvm.domain.box import Box
from devvm.domain.disk import DATA, ROOT
from devvm.domain.vm import Driver, Engineer, Metadata, Target, Vm, VmState
from devvm.operations.core import naming
from devvm.operations.core.journal import CREATE
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, personalise
from devvm.operations.storage import base_image, saved_states
from devvm.ports.services import Services

_HOST_KEY = "ssh_host_ed25519_key"


def bring_up(
    machine: Machine,
    *,
    box: Box,
    vm_config: VmConfig,
    metadata: Metadata,
    run: Run,
    engineer: Engineer | None = None,
) -> Target:
    """Make a VM and boot it, up to where it lets devvm in.

    The caller holds the VM's lock, and has made sure that nothing of this name exists.

    Args:
        machine: The VM.
        box: What it is made of.
        vm_config: How large it is.
        metadata: What is to be known of it.
        run: Where phases go.
        engineer: Whose it becomes as it boots; None: nobody's.

    Returns:
        The way in, with the account that devvm works with.

    Raises:
        DevvmError: something failed; the journal is open and `take_down` undoes what was done.
    """
    services = machine.services
    state = services.state
    identifier, token = str(uuid.uuid4()), naming.new_token()
    fqdn = machine.fqdn
    state.open_journal(
        machine.name, CREATE,
        {"command": run.command, "uuid": identifier, "token": token, "release": box.release},
    )  # fmt: skip
    with run.phase("network", "Preparing the network"):
        lease = machine.reserve_lease()
    with run.phase("disks", "Creating the disks"):
        base_image.place(services, box, run)
        run.detail("creating the data disk")
        volumes = {
            role: naming.volume_of(fqdn, role, token)
            for role in (DATA, *(disk.name for disk in vm_config.extra_disks))
        }
        for_boot = personalise.for_boot(engineer) if engineer else {}
        identity = _place_data_disk(machine, volumes[DATA], vm_config.data_gib, for_boot)
        metadata = known_by(services, metadata, identity)
    with run.phase("boot", "Starting the VM"):
        driver, reason = services.host.driver(vm_config.driver)
        if driver is Driver.QEMU and vm_config.driver == "auto":
            run.note(f"The VM runs with {reason}")
        public_key = ssh.new_key(machine)
        ssh.write_ssh_files(services, metadata, lease)
        extra = {disk.name: disk.size_gib for disk in vm_config.extra_disks}
        ssh.write_vagrantfile(
            services,
            metadata=metadata,
            lease=lease,
            uuid=identifier,
            driver=driver,
            cpus=vm_config.cpus,
            memory_mib=vm_config.memory_mib,
            sizes_gib={ROOT: vm_config.root_gib, DATA: vm_config.data_gib, **extra},
            volumes=volumes,
            public_key=public_key,
        )
        services.vagrant.up(machine.folder, run.detail, run.log(state))
        services.domains.set_metadata(identifier, metadata)
        return ssh.wait(machine, run)


def name_root(machine: Machine, token: str) -> Vm:
    """Move a new VM's root from the one name that vagrant-libvirt has for it to one of its own.

    Otherwise no VM of this name could be made as long as this root lies in the trash.
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
    """Undo what `bring_up` or another operation that makes a VM did, for good.

    Safe to run again, from any state that a killed command left. A domain of the VM's name that
    devvm did not make is left alone, and so are volumes that this operation did not make.
    """
    services = machine.services
    journal = machine.journal() or {}
    ssh.disconnect(machine)
    if _is_ours(machine, journal):
        services.domains.remove(machine.fqdn)
        first = services.config.pool_path / naming.first_root_of(machine.fqdn)
        saved_states.release(services, [first])
        if "token" in journal:
            saved_states.release_made_by(machine, journal["token"])
    machine.release_lease()
    services.state.forget(machine.name)


@contextmanager
def recorded(machine: Machine, run: Run) -> Iterator[None]:
    """Keep the run's phases and durations with the VM, however it ends."""
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
    """The files that make a machine this one and no other; the private ones exist nowhere else."""
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
    """The facts of a VM with an identity: its host key, and when its certificate ends."""
    return replace(
        facts,
        host_key=" ".join(identity[f"{_HOST_KEY}.pub"].split()[:2]),
        certificate_until=certificate.end_of(services, identity["site.crt"]),
    )


def power_off(services: Services, vm: Vm, *, timeout: float) -> None:
    """Shut a VM down, force it off after `timeout` seconds; nothing if it is off."""
    if vm.state is not VmState.SHUTOFF:
        ssh.disconnect(Machine(services, vm.name))
        services.domains.shutdown(vm, timeout=timeout, force=True)


def _is_ours(machine: Machine, journal: Mapping[str, object]) -> bool:
    """Whether the domain of this name is a VM of devvm's, or what a killed create made of one."""
    found = machine.services.domains.uuid(machine.fqdn)
    return found is None or journal.get("uuid") == found or machine.vm() is not None


def _place_data_disk(
    machine: Machine, volume: str, size_gib: int, for_boot: Mapping[str, str]
) -> Mapping[str, str]:
    """Make the data disk with the VM's identity on it, which is returned.

    The private halves exist on the host only while the disk is made, in a private folder.
    """
    services = machine.services
    identity = new_identity(services, machine.fqdn)
    # in the VM's folder, which goes when a killed create is undone
    with tempfile.TemporaryDirectory(dir=machine.folder, prefix=".disk-") as folder:
        image = Path(folder) / "data.qcow2"
        services.data_disks.make(image, size_gib, {**identity, **for_boot})
        services.volumes.upload(volume, image, lambda _text: None)
    return identity
