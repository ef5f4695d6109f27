"""`list`, `show`, `start`, `stop`, `restart`: list VMs, and turn them on and off."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from devvm.domain.disk import Disk
from devvm.domain.errors import DevvmError, NotFoundError, OperationError
from devvm.domain.run import RunRecord
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import Driver, Target, Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction.transaction import changing
from devvm.ports.services import Services

#: Seconds for a guest to shut down; an emulated one with a database is slow.
_STOP_TIMEOUT = 180.0
#: Seconds for a guest to shut down before --force turns it off.
_FORCE_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class VmDetails:
    """What is known about a VM without logging in to it."""

    vm: Vm
    url: str
    ca_certificate: Path  # of the CA that signed the VM's certificate
    disks: tuple[Disk, ...]
    runs: tuple[RunRecord, ...]
    logs: tuple[Path, ...]  # of devvm's commands on this VM, oldest first


def list_vms(services: Services) -> list[Vm]:
    """Every VM, by name; the state is `missing` if only remnants are left.

    Not those that devvm makes for itself.
    """
    found = {vm.name: vm for vm in services.domains.vms()}
    for name in services.state.names():
        if name not in found:
            found[name] = _missing(Machine(services, name))
    return [found[name] for name in sorted(found) if not found[name].is_devvms_own]


def get(machine: Machine) -> Vm:
    """The VM of this name; its state is `missing` if only remnants are left.

    Raises:
        NotFoundError: there is nothing of this name; suggests similar names.
    """
    vm = machine.vm()
    if vm is not None:
        return vm
    if exists(machine):
        return _missing(machine)
    names = [known.name for known in list_vms(machine.services)]
    close = difflib.get_close_matches(machine.name, names, n=3)
    raise NotFoundError(
        f"there is no VM {machine}",
        details=f"did you mean {' or '.join(close)}?" if close else None,
        resolution=_next_step(machine, known=bool(names)),
    )


def _next_step(machine: Machine, *, known: bool) -> str:
    if saved_states.of_vm(machine, Purpose.TRASH):
        return f"it is in the trash: devvm recover {machine}"
    return "devvm list" if known else f"devvm create {machine}"


def exists(machine: Machine) -> bool:
    """Whether there is a VM of this name, or remnants of one."""
    known = machine.vm() is not None or machine.folder.is_dir()
    return known or bool(saved_states.lost_volumes(machine))


def check(services: Services, name: str) -> None:
    """Make sure that there is a VM of this name, remnants, or an unfinished operation.

    Raises:
        NotFoundError: there is none of these.
    """
    if services.state.journal(name) is None:
        get(Machine(services, name))


def running(machine: Machine) -> Vm:
    """The VM of this name, which must be running.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running; says how to start it.
    """
    vm = present(machine)
    if vm.state is not VmState.RUNNING:
        raise OperationError(
            f"{machine} is not running (it is {vm.state})", resolution=f"devvm start {machine}"
        )
    return vm


def show(services: Services, name: str) -> VmDetails:
    """The details of a VM.

    Raises:
        NotFoundError: there is no such VM.
    """
    machine = Machine(services, name)
    vm = get(machine)
    return VmDetails(
        vm=vm,
        url=machine.url,
        ca_certificate=services.ca.ensure(),
        disks=tuple(services.disks.of(vm.fqdn)),
        runs=tuple(services.state.runs(name)),
        logs=tuple(services.state.logs_of(name)),
    )


def start(services: Services, name: str, run: Run) -> Vm:
    """Start a VM, and wait until devvm can log in; if it is running, only wait.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it does not come up.
    """
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        present(machine)
        bring_up(machine, run)
    return get(machine)


def stop(services: Services, name: str, run: Run, *, force: bool = False) -> Vm:
    """Shut a VM down; do nothing if it is off.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it did not shut down in time, and `force` was not given.
    """
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        present(machine)
        _stop(machine, run, force=force)
    return get(machine)


def restart(services: Services, name: str, run: Run, *, force: bool = False) -> Vm:
    """Shut a VM down and start it again, like `stop` and `start`."""
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        present(machine)
        _stop(machine, run, force=force)
        bring_up(machine, run)
    return get(machine)


def power_on(machine: Machine, run: Run) -> Target:
    """Start a VM and wait until devvm can log in, as phases of a larger command.

    If its certificate expires soon, it is renewed.

    Raises:
        OperationError: it does not come up.
    """
    services, vm = machine.services, machine.require()
    prepare(machine, run)
    with run.phase("boot", "Starting the VM"):
        services.domains.start(vm)
        target = ssh.wait(machine, run)
    certificate.keep_valid(machine, run)
    return target


def prepare(machine: Machine, run: Run) -> None:
    """Make sure that the network, the VM's lease and the pool are there, as a phase."""
    services, vm = machine.services, machine.require()
    with run.phase("network", "Preparing the network"), services.state.wait_lock("network"):
        services.network.ensure()
        services.network.reserve(vm.name, vm.mac)
        services.volumes.ensure()


def bring_up(machine: Machine, run: Run) -> None:
    """Start a VM and wait until devvm can log in. The caller holds the lock.

    Raises:
        OperationError: it does not come up.
    """
    target, metadata = power_on(machine, run), machine.require().metadata
    try:  # devvm's key may be new, and unknown to the engineer's account
        if metadata is not None:
            repair.authorize_engineer(machine, target, metadata)
    except DevvmError as error:  # the VM is up, as requested
        run.note(f"devvm ssh {machine} may not work: {error}")


def _stop(machine: Machine, run: Run, *, force: bool) -> None:
    with run.phase("stop", "Shutting the VM down"):
        ssh.disconnect(machine)
        timeout = _FORCE_TIMEOUT if force else _STOP_TIMEOUT
        machine.services.domains.shutdown(machine.require(), timeout=timeout, force=force)


def present(machine: Machine) -> Vm:
    """The VM of this name, whose domain must exist.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: its domain is gone.
    """
    vm = get(machine)
    if vm.state is VmState.MISSING:
        if begun := machine.journal():
            raise OperationError(
                f"{machine} doesn't exist (it is being created or deleted)",
                details=f"its {begun['operation']}, started {begun['started_at']}, has not "
                "finished",
                resolution="wait for it; if it was killed: devvm doctor --fix",
            )
        raise OperationError(
            f"the libvirt domain of {machine} is gone, or was never finished",
            details=f"what is left: {', '.join(_remnants(machine))}",
            resolution="devvm doctor --fix; to move what is left to the trash: devvm destroy "
            f"{machine}",
        )
    return vm


def _remnants(machine: Machine) -> list[str]:
    volumes = saved_states.lost_volumes(machine)
    folder = machine.folder
    return [*(disk.path.name for disk in volumes), *([str(folder)] if folder.is_dir() else [])]


def _missing(machine: Machine) -> Vm:
    journal = machine.journal() or {}
    return Vm(
        name=machine.name,
        fqdn=machine.fqdn,
        uuid=str(journal.get("uuid", "")),
        state=VmState.MISSING,
        driver=Driver.QEMU,
        memory_mib=0,
        cpus=0,
        metadata=None,
        lease=None,
    )
