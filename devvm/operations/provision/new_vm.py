"""Bring a new VM up: made of a spare, restored from a warm box, or booted from a box.

`bring_up` leaves a journal open. The caller closes it if all is well; otherwise
`provision.take_down` undoes everything, now or when the next command finds the journal.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from devvm.config import VmConfig
from devvm.domain.box import Box
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import DevvmError
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Engineer, Lease, Metadata, Target
from devvm.operations.core import naming
from devvm.operations.core.journal import CREATE
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import personalise, provision, spares, thaw
from devvm.operations.storage import base_image, frozen

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
    identifier, token = str(uuid.uuid4()), naming.new_token()
    machine.services.state.open_journal(
        machine.name, CREATE,
        {"command": run.command, "uuid": identifier, "token": token, "release": box.release},
    )  # fmt: skip
    with run.phase("network", "Preparing the network"):
        lease = machine.reserve_lease()
    with ExitStack() as stack:
        with run.phase("disks", "Creating the disks"):
            base_image.place(machine.services, box, run)
            new = _prepared(
                machine, vm_config, metadata, lease,
                identifier=identifier, token=token, engineer=engineer, run=run,
            )  # fmt: skip
            spare = stack.enter_context(_spare(new, run)) if engineer else None
            if spare is None:
                _place_data_disk(new)
        target = _take(new, spare, run) if spare else None
    return target or _restore(new, run) or _boot(new, run)


@dataclass(frozen=True, kw_only=True)
class _New:
    """A VM that is being created.

    Attributes:
        machine: The VM.
        size: Its size.
        metadata: Its metadata.
        lease: Its DHCP lease.
        uuid: Its domain's UUID.
        driver: KVM or emulation.
        public_key: The key that devvm logs in with.
        identity: The files of its identity, by name.
        token: For the names of its volumes.
        volumes: Names of its volumes by role, without the root.
    """

    machine: Machine
    size: VmConfig
    metadata: Metadata
    lease: Lease
    uuid: str
    driver: Driver
    public_key: str
    identity: Mapping[str, str]
    token: str
    volumes: Mapping[str, str]

    @property
    def data_bytes(self) -> int:
        """The size of its data disk."""
        return self.size.data_gib * _GIB

    @property
    def fits(self) -> str:
        """Which memories it can be restored from."""
        return frozen.fits(
            self.machine.services, driver=self.driver, cpus=self.size.cpus,
            memory_mib=self.size.memory_mib, root_bytes=self.size.root_gib * _GIB,
        )  # fmt: skip

    def change(self, disks: Mapping[str, Path]) -> DomainChange:
        """What it is, for a domain that is defined with these disks."""
        return DomainChange(
            name=self.machine.fqdn,
            uuid=self.uuid,
            title=f"devvm {self.machine}",
            mac=self.lease.mac,
            disks=disks,
            facts=self.metadata,
            oem_string=ssh.oem_string(self.public_key),
        )


def _prepared(
    machine: Machine,
    size: VmConfig,
    metadata: Metadata,
    lease: Lease,
    *,
    identifier: str,
    token: str,
    engineer: Engineer | None,
    run: Run,
) -> _New:
    """Give it an identity, and devvm its key."""
    services, fqdn = machine.services, machine.fqdn
    identity = provision.new_identity(services, fqdn)
    metadata = provision.known_by(services, metadata, identity)
    driver, reason = services.host.driver(size.driver)
    if driver is Driver.QEMU and size.driver == "auto":
        run.note(f"The VM runs with {reason}")
    public_key = ssh.new_key(machine)
    ssh.write_ssh_files(services, metadata, lease)
    roles = (DATA, *(disk.name for disk in size.extra_disks))
    return _New(
        machine=machine, size=size, metadata=metadata, lease=lease, uuid=identifier,
        driver=driver, public_key=public_key, token=token,
        identity={**identity, **(personalise.for_boot(engineer) if engineer else {})},
        volumes={role: naming.volume_of(fqdn, role, token) for role in roles},
    )  # fmt: skip


def _spare(new: _New, run: Run) -> AbstractContextManager[SavedState | None]:
    """Hold a spare that the VM can be made of, if there is one."""
    if not new.size.warm or new.size.extra_disks:
        return nullcontext()
    return spares.held(
        new.machine.services, new.metadata.release, run, fits=new.fits, data_bytes=new.data_bytes
    )


def _take(new: _New, spare: SavedState, run: Run) -> Target | None:
    """Make the VM of a spare; None if that failed."""
    services = new.machine.services
    target = thaw.start_new(
        new.machine, spare, run, token=new.token, change=new.change({}),
        data_bytes=new.data_bytes, identity=new.identity,
    )  # fmt: skip
    if target is None:
        with run.phase("disks", "Creating the data disk"):
            _place_data_disk(new)
    else:
        with suppress(DevvmError):  # it is in use now, and will be removed as stale
            frozen.remove(services, spare)
    return target


def _restore(new: _New, run: Run) -> Target | None:
    """Restore the VM from a warm box; None if there is none that fits, or that failed."""
    if not new.size.warm:
        return None
    services = new.machine.services
    warm = thaw.usable(
        services, new.metadata.release, run,
        fits=new.fits, disks={ROOT, *new.volumes}, driver=new.driver,
    )  # fmt: skip
    if warm is None:
        return None
    data = services.config.pool_path / new.volumes[DATA]
    change = new.change({DATA: data})
    return thaw.start_new(new.machine, warm, run, token=new.token, change=change)


def _boot(new: _New, run: Run) -> Target:
    services, extra = new.machine.services, new.size.extra_disks
    with run.phase("boot", "Starting the VM"):
        ssh.write_vagrantfile(
            services,
            metadata=new.metadata,
            lease=new.lease,
            uuid=new.uuid,
            driver=new.driver,
            cpus=new.size.cpus,
            memory_mib=new.size.memory_mib,
            sizes_gib={
                ROOT: new.size.root_gib,
                DATA: new.size.data_gib,
                **{disk.name: disk.size_gib for disk in extra},
            },
            volumes=dict(new.volumes),
            public_key=new.public_key,
        )
        services.vagrant.up(new.machine.folder, run.detail, run.log(services.state))
        services.domains.set_metadata(new.uuid, new.metadata)
        return ssh.wait(new.machine, run)


def _place_data_disk(new: _New) -> None:
    """Create the data disk with the VM's identity on it.

    The private keys exist on the host only while the disk is created, in a private folder.
    """
    services = new.machine.services
    # in the VM's folder, which is removed when a killed create is undone
    with tempfile.TemporaryDirectory(dir=new.machine.folder, prefix=".disk-") as folder:
        image = Path(folder) / "data.qcow2"
        services.data_disks.make(image, new.size.data_gib, new.identity)
        services.volumes.upload(new.volumes[DATA], image, lambda _text: None)
