"""Bring a VM up from a box, warm or not, and take it down: for create, box checks and others.

`bring_up` leaves a journal open. The caller closes it if all is well; otherwise `take_down` undoes
everything, now or when the next command finds the journal.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from devvm.config import VmConfig
from devvm.domain.box import Box
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import DevvmError
from devvm.domain.saved_state import DomainChange
from devvm.domain.vm import Driver, Engineer, Metadata, Target, Vm, VmState
from devvm.operations.core import naming
from devvm.operations.core.journal import CREATE
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, personalise, spares, thaw
from devvm.operations.storage import base_image, frozen, saved_states
from devvm.ports.services import Services

_HOST_KEY = "ssh_host_ed25519_key"
_GIB = 1024**3


def bring_up(
    machine: Machine,
    *,
    box: Box,
    vm_config: VmConfig,
    metadata: Metadata,
    run: Run,
    engineer: Engineer | None = None,
) -> Target:
    """Create a VM and boot or restore it, until devvm can log in.

    The caller holds the VM's lock, and has made sure that nothing of this name exists.

    Args:
        machine: The VM.
        box: The box to create it from.
        vm_config: Its size.
        metadata: Its metadata.
        run: Reports the phases.
        engineer: Whom to personalise it for as it boots; None for nobody.

    Returns:
        The SSH target, as devvm's own account there.

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
    with ExitStack() as held:
        with run.phase("disks", "Creating the disks"):
            base_image.place(services, box, run)
            identity = new_identity(services, fqdn)
            metadata = known_by(services, metadata, identity)
            files = {**identity, **(personalise.for_boot(engineer) if engineer else {})}
            driver, reason = services.host.driver(vm_config.driver)
            if driver is Driver.QEMU and vm_config.driver == "auto":
                run.note(f"The VM runs with {reason}")
            public_key = ssh.new_key(machine)
            ssh.write_ssh_files(services, metadata, lease)
            extra = {disk.name: disk.size_gib for disk in vm_config.extra_disks}
            volumes = {role: naming.volume_of(fqdn, role, token) for role in (DATA, *extra)}
            data = services.config.pool_path / volumes[DATA]
            fits = frozen.fits(
                services, driver=driver, cpus=vm_config.cpus, memory_mib=vm_config.memory_mib,
                root_bytes=vm_config.root_gib * _GIB,
            )  # fmt: skip
            spare = None
            if vm_config.warm and engineer and not extra:
                spare = held.enter_context(
                    spares.held(
                        services, box.release, run,
                        fits=fits, data_bytes=vm_config.data_gib * _GIB,
                    )
                )  # fmt: skip
            if spare is None:
                _place_data_disk(machine, volumes[DATA], vm_config.data_gib, files)
        change = DomainChange(
            name=fqdn,
            uuid=identifier,
            title=f"devvm {machine}",
            mac=lease.mac,
            facts=metadata,
            oem_string=ssh.oem_string(public_key),
        )
        if spare is not None:
            target = thaw.start_new(
                machine, spare, run, token=token, change=change,
                data_bytes=vm_config.data_gib * _GIB, identity=files,
            )  # fmt: skip
            if target is not None:
                with suppress(DevvmError):  # it is in use now, and will be removed as stale
                    frozen.remove(services, spare)
                return target
            with run.phase("disks", "Creating the data disk"):
                _place_data_disk(machine, volumes[DATA], vm_config.data_gib, files)
    warm = vm_config.warm and thaw.usable(
        services, box.release, run, fits=fits, disks={ROOT, *volumes}, driver=driver
    )
    if warm:
        change = replace(change, disks={DATA: data})
        target = thaw.start_new(machine, warm, run, token=token, change=change)
        if target is not None:
            return target
    with run.phase("boot", "Starting the VM"):
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
    """Undo `bring_up`, or another operation that creates a VM; nothing goes to the trash.

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


def _place_data_disk(
    machine: Machine, volume: str, size_gib: int, identity: Mapping[str, str]
) -> None:
    """Create the data disk with an identity on it.

    The private keys exist on the host only while the disk is created, in a private folder.
    """
    services = machine.services
    # in the VM's folder, which is removed when a killed create is undone
    with tempfile.TemporaryDirectory(dir=machine.folder, prefix=".disk-") as folder:
        image = Path(folder) / "data.qcow2"
        services.data_disks.make(image, size_gib, identity)
        services.volumes.upload(volume, image, lambda _text: None)
