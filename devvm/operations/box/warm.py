"""Make a warm box: save the memory of a VM that was booted from a box."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from devvm.domain.disk import MEMORY, ROOT, DomainDisk
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Vm
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import thaw
from devvm.operations.storage import warm_boxes


def freeze(machine: Machine, run: Run) -> SavedState:
    """Make a warm box of a VM that has just been created from a box, and is nobody's.

    Replaces the warm boxes of its release. The VM is off afterwards; its root and its memory belong
    to the warm box, and the caller takes the rest down.

    Raises:
        OperationError: the VM could not be prepared or saved; there is no new warm box.
    """
    services, vm = machine.services, machine.require()
    token = (machine.journal() or {})["token"]
    with run.phase("save", "Saving the memory of the VM"):
        run.detail("stopping its services")
        ssh.disconnect(machine)
        thaw.run_program(machine, "freeze")
        older = warm_boxes.of(services, vm.known.release)
        memory = services.memory.save(vm.fqdn, naming.volume_of(vm.fqdn, MEMORY, token))
        root = next(disk for disk in services.disks.of(vm.fqdn) if disk.role == ROOT)
        kept = _facts(machine, vm, token, root.size_bytes)
        volumes = (
            DomainDisk(device="vda", role=ROOT, path=root.path),
            DomainDisk(device="vdb", role=MEMORY, path=memory),
        )
        services.domains.define_bare(
            naming.kept_of(vm.fqdn, token), str(uuid.uuid4()), volumes, kept
        )
        for one in older:
            warm_boxes.remove(services, one)
    return replace(kept, disks=volumes)


def _facts(machine: Machine, vm: Vm, token: str, root_bytes: int) -> SavedState:
    return SavedState(
        id=token,
        purpose=Purpose.WARM,
        label=f"warm box of {vm.known.release}",
        kept_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        expires_at=None,
        uuid=vm.uuid,
        mac=vm.mac,
        consistency="off",
        vm=vm.known,
        whole=False,
        fits=warm_boxes.fits(
            machine.services, driver=vm.driver, cpus=vm.cpus, memory_mib=vm.memory_mib,
            root_bytes=root_bytes,
        ),
    )  # fmt: skip
