"""`resize`: grow a VM's data disk and its file system."""

from __future__ import annotations

from devvm.domain.disk import DATA, Disk
from devvm.domain.errors import OperationError, UsageError
from devvm.domain.vm import VmState
from devvm.operations.core import journal
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import provision
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services

_GIB = 1024**3
_GROW = """set -eu
resize2fs "$(findmnt -n -o SOURCE /data)"
"""


def resize(services: Services, name: str, data_gib: int, run: Run) -> Disk:
    """Grow a VM's data disk, whether the VM is running or not.

    The file system grows at once if it is, and at its next start otherwise.

    Raises:
        NotFoundError: there is no such VM.
        UsageError: the disk is already larger.
        LockedError: another command is changing the VM.
        OperationError: the disk could not be grown.
    """
    machine = Machine(services, name)
    wanted = data_gib * _GIB
    with transaction.changing(machine, run), provision.recorded(machine, run):
        vm = lifecycle.present(machine)
        disk = _data_disk(services, vm.fqdn)
        if wanted < disk.size_bytes:
            raise UsageError(
                f"the data disk of {name} has {disk.size_bytes / _GIB:.0f} GiB",
                details="a disk can't shrink: data at its end would be lost",
                resolution=f"devvm resize {name} --data {disk.size_bytes // _GIB + 1}G",
            )
        with (
            transaction.begin(machine, journal.RESIZE, run, sizes={DATA: wanted}),
            run.phase("resize", f"Growing the data disk to {data_gib} GiB"),
        ):
            if wanted > disk.size_bytes:
                services.disks.resize(vm, DATA, wanted)
            if vm.state is VmState.RUNNING:
                run.detail("growing the file system")
                target = ssh.target(machine, login="vagrant")
                services.shell.run(target, ["sudo", "sh", "-s"], stdin=_GROW)
        return _data_disk(services, vm.fqdn)


def end(begun: Begun) -> Outcome:
    """Tell whether the disk has grown; its file system grows at the next start."""
    services = begun.machine.services
    vm = services.domains.vm(begun.machine.name)
    sizes = {disk.role: disk.size_bytes for disk in services.disks.of(vm.fqdn)} if vm else {}
    done = all(sizes.get(role, 0) >= size for role, size in begun.journal["sizes"].items())
    return "finished" if done else "undone"


def _data_disk(services: Services, fqdn: str) -> Disk:
    for disk in services.disks.of(fqdn):
        if disk.role == DATA:
            return disk
    raise OperationError(f"{fqdn} has no data disk", resolution="devvm doctor")
