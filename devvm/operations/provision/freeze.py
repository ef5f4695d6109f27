"""Freeze a VM: keep its memory and its disks to start other VMs from; `thaw.py` does that."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from devvm.domain.disk import DATA, MEMORY, ROOT, DomainDisk
from devvm.domain.saved_state import Purpose, SavedState
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import thaw
from devvm.operations.storage import frozen


def freeze(machine: Machine, run: Run, purpose: Purpose) -> SavedState:
    """Freeze a VM that has just been created from a box, and is nobody's.

    The VM is off afterwards; its root and its memory belong to the frozen VM, and for a spare its
    data disk too. The caller takes the rest down.

    Raises:
        OperationError: the VM could not be prepared or saved; nothing is kept.
    """
    services, vm = machine.services, machine.require()
    token = (machine.journal() or {})["token"]
    spare = purpose is Purpose.SPARE
    with run.phase("save", "Saving the memory of the VM"):
        run.detail("stopping its services")
        ssh.disconnect(machine)
        thaw.run_program(machine, "freeze", *(["--with-data"] if spare else []))
        memory = services.memory.save(vm.fqdn, naming.volume_of(vm.fqdn, MEMORY, token))
        disks = {disk.role: disk for disk in services.disks.of(vm.fqdn)}
        paths = {ROOT: disks[ROOT].path, MEMORY: memory}
        if spare:
            paths[DATA] = disks[DATA].path
        volumes = tuple(
            DomainDisk(device=f"vd{letter}", role=role, path=path)
            for letter, (role, path) in zip("abc", paths.items(), strict=False)
        )
        kept = SavedState(
            id=token,
            purpose=purpose,
            label=f"{'spare VM' if spare else 'warm box'} of {vm.known.release}",
            kept_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            expires_at=None,
            uuid=vm.uuid,
            mac=vm.mac,
            consistency="off",
            vm=vm.known,
            disks=volumes,
            whole=False,
            fits=frozen.fits(
                services, driver=vm.driver, cpus=vm.cpus, memory_mib=vm.memory_mib,
                root_bytes=disks[ROOT].size_bytes,
            ),
        )  # fmt: skip
        services.domains.define_bare(
            naming.kept_of(vm.fqdn, token), str(uuid.uuid4()), volumes, kept
        )
    return kept
