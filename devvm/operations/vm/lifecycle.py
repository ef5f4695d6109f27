"""`list`, `show`, `start`, `stop`, `restart`: what there is, and its power switch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from devvm.domain.errors import DevvmError, NotFoundError, OperationError
from devvm.domain.model import Disk, Driver, Purpose, RunRecord, Target, Vm, VmState
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction.transaction import changing
from devvm.ports.services import Services

#: How long a guest may take to shut down; an emulated one with a database takes its time.
_STOP_TIMEOUT = 180.0
#: With --force the guest gets a chance too, but a short one.
_FORCE_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class VmDetails:
    """Everything about one VM that can be told without logging in."""

    vm: Vm
    url: str
    ca_certificate: Path  # of the CA that signed the VM's certificate
    disks: tuple[Disk, ...]
    runs: tuple[RunRecord, ...]
    logs: tuple[Path, ...]  # of devvm's commands on this VM, on the host, oldest first


def list_vms(services: Services) -> list[Vm]:
    """Every VM of devvm's, by name; those too of which only remnants are there, as `missing`."""
    found = {vm.name: vm for vm in services.domains.vms()}
    for name in services.state.names():
        if name not in found:
            found[name] = _missing(services, name)
    return [found[name] for name in sorted(found)]


def get(services: Services, name: str) -> Vm:
    """One VM; as `missing` where only remnants of it are there.

    Raises:
        NotFoundError: there is nothing of this name; suggests names that are close.
    """
    vm = services.domains.vm(name)
    if vm is not None:
        return vm
    if exists(services, name):
        return _missing(services, name)
    names = [known.name for known in list_vms(services)]
    close = difflib.get_close_matches(name, names, n=3)
    raise NotFoundError(
        f"there is no VM {name}",
        details=f"did you mean {' or '.join(close)}?" if close else None,
        resolution=_next_step(services, name, known=bool(names)),
    )


def _next_step(services: Services, name: str, *, known: bool) -> str:
    if saved_states.of_vm(Machine(services, name), Purpose.TRASH):
        return f"it is in the trash: devvm recover {name}"
    return "devvm list" if known else f"devvm create {name}"


def exists(services: Services, name: str) -> bool:
    """Whether there is a VM of this name, or what is left of one."""
    known = services.domains.vm(name) is not None or services.state.vm(name).is_dir()
    return known or bool(saved_states.lost_volumes(Machine(services, name)))


def check(services: Services, name: str) -> None:
    """Return where there is something of this name, or something unfinished to end.

    Raises:
        NotFoundError: there is neither.
    """
    if services.state.journal(name) is None:
        get(services, name)


def running(services: Services, name: str) -> Vm:
    """One VM that runs.

    Raises:
        NotFoundError: there is none of this name.
        OperationError: it does not run; says how to start it.
    """
    vm = present(services, name)
    if vm.state is not VmState.RUNNING:
        raise OperationError(
            f"{name} is not running (it is {vm.state})", resolution=f"devvm start {name}"
        )
    return vm


def show(services: Services, name: str) -> VmDetails:
    """Everything about one VM.

    Raises:
        NotFoundError: there is none of this name.
    """
    vm = get(services, name)
    return VmDetails(
        vm=vm,
        url=naming.url_of(services.config, name),
        ca_certificate=services.ca.ensure(),
        disks=tuple(services.disks.of(vm.fqdn)),
        runs=tuple(services.state.runs(name)),
        logs=tuple(services.state.logs_of(name)),
    )


def start(services: Services, name: str, run: Run) -> Vm:
    """Power on and wait until the VM lets us in; only waits where it runs.

    Raises:
        NotFoundError: there is none of this name.
        OperationError: it does not come up.
    """
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        bring_up(services, present(services, name), run)
    return get(services, name)


def stop(services: Services, name: str, run: Run, *, force: bool = False) -> Vm:
    """Shut the VM down; nothing where it is off.

    Raises:
        NotFoundError: there is none of this name.
        OperationError: it did not shut down in time, and `force` was not given.
    """
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        _stop(services, present(services, name), run, force=force)
    return get(services, name)


def restart(services: Services, name: str, run: Run, *, force: bool = False) -> Vm:
    """Shut the VM down and start it again; as `stop`, then `start`."""
    machine = Machine(services, name)
    with changing(machine, run), provision.recorded(machine, run):
        vm = present(services, name)
        _stop(services, vm, run, force=force)
        bring_up(services, vm, run)
    return get(services, name)


def power_on(services: Services, vm: Vm, run: Run) -> Target:
    """Power a VM on and wait until it lets devvm in, as phases of a larger command.

    Its certificate is renewed where it ends soon.

    Raises:
        OperationError: it does not come up.
    """
    machine = Machine(services, vm.name)
    with run.phase("network", "Preparing the network"), services.state.wait_lock("network"):
        services.network.ensure()
        services.network.reserve(vm.name, vm.mac)
        services.volumes.ensure()
    with run.phase("boot", "Starting the VM"):
        services.domains.start(vm)
        target = ssh.wait(machine, run)
    certificate.keep_valid(machine, run)
    return target


def bring_up(services: Services, vm: Vm, run: Run) -> None:
    """Power a VM on and wait until it lets us in, as `start` does; its lock is held.

    Raises:
        OperationError: it does not come up.
    """
    target = power_on(services, vm, run)
    try:  # devvm's key may have been made anew, and the engineer's account not know it
        if vm.metadata is not None:
            repair.let_in(services, target, vm.metadata)
    except DevvmError as error:  # the VM is up, and that was asked for
        run.note(f"devvm ssh {vm.name} may not work: {error}")


def _stop(services: Services, vm: Vm, run: Run, *, force: bool) -> None:
    with run.phase("stop", "Shutting the VM down"):
        ssh.disconnect(Machine(services, vm.name))
        timeout = _FORCE_TIMEOUT if force else _STOP_TIMEOUT
        services.domains.shutdown(vm, timeout=timeout, force=force)


def present(services: Services, name: str) -> Vm:
    """One VM whose domain is there.

    Raises:
        NotFoundError: there is none of this name.
        OperationError: its domain is gone.
    """
    vm = get(services, name)
    if vm.state is VmState.MISSING:
        if begun := services.state.journal(name):
            raise OperationError(
                f"{name} doesn't exist (it is being created or deleted)",
                details=f"its {begun['operation']}, started {begun['started_at']}, has not "
                "finished",
                resolution="wait for it; if it was killed: devvm doctor --fix",
            )
        raise OperationError(
            f"the libvirt domain of {name} is gone, or was never finished",
            details=f"what is left: {', '.join(_remnants(services, name))}",
            resolution="devvm doctor --fix; to move what is left to the trash: devvm destroy "
            f"{name}",
        )
    return vm


def _remnants(services: Services, name: str) -> list[str]:
    volumes = saved_states.lost_volumes(Machine(services, name))
    folder = services.state.vm(name)
    return [*(disk.path.name for disk in volumes), *([str(folder)] if folder.is_dir() else [])]


def _missing(services: Services, name: str) -> Vm:
    journal = services.state.journal(name) or {}
    return Vm(
        name=name,
        fqdn=naming.fqdn_of(services.config, name),
        uuid=str(journal.get("uuid", "")),
        state=VmState.MISSING,
        driver=Driver.QEMU,
        memory_mib=0,
        cpus=0,
        metadata=None,
        lease=None,
    )
