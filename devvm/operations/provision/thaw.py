"""Start a VM with the memory of a warm box, instead of booting it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import DevvmError, OperationError
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Driver, Target
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.storage import saved_states, warm_boxes
from devvm.ports.services import Services

#: In a box; makes the machine itself when it is restored.
PROGRAM = "/usr/lib/devvm/warm"


def usable(
    services: Services,
    release: str,
    run: Run,
    *,
    driver: Driver,
    cpus: int,
    memory_mib: int,
    root_bytes: int,
    disks: set[str],
) -> SavedState | None:
    """The warm box that a VM can be restored from; None if it has to boot, after saying why.

    Nothing is said where there is no warm box.

    Args:
        services: The adapters to use.
        release: The VM's release.
        run: Notes why the VM has to boot.
        driver: KVM or emulation.
        cpus: How many CPUs it has.
        memory_mib: How much memory it has.
        root_bytes: The size of its root disk.
        disks: The roles of its disks.
    """
    warm = warm_boxes.find(services, release)
    if warm is None:
        return None
    lost = [disk.path.name for disk in warm.disks if not services.volumes.exists(disk.path.name)]
    if lost:
        run.note(
            f"The VM boots: the warm box has lost {', '.join(lost)}; to make another: devvm box "
            f"warm {release}"
        )
        return None
    if disks != {ROOT, DATA}:
        run.note("The VM boots: it has other disks than the warm box")
        return None
    fits = warm_boxes.fits(
        services, driver=driver, cpus=cpus, memory_mib=memory_mib, root_bytes=root_bytes
    )
    if fits != warm.fits:
        stale = not warm.fits.startswith(services.host.emulator(driver))
        run.note(
            f"The VM boots: the warm box is for {warm.fits}; this VM has {fits}"
            + (f"; to make another: devvm box warm {release}" if stale else "")
        )
        return None
    return warm


def start_new(
    machine: Machine, warm: SavedState, run: Run, *, token: str, change: DomainChange
) -> Target | None:
    """Define a VM, and start it from a warm box.

    Args:
        machine: The VM.
        warm: The warm box.
        run: Reports the phase.
        token: For the name of its root.
        change: What it is, without a root.

    Returns:
        The SSH target, as devvm's own account; None if that failed: there is no such domain, and
        the VM has to boot. A note says why.
    """
    services = machine.services
    root = put_root(machine, warm, token)
    change = replace(change, disks={**change.disks, **root})
    try:
        services.domains.define(services.memory.definition(warm_boxes.memory_of(warm)), change)
    except DevvmError as error:
        _say_that_it_boots(error, run)
        target = None
    else:
        target = start(machine, warm, run)
    if target is None:
        services.domains.remove(machine.fqdn)
        saved_states.release(services, root.values())
    return target


def put_root(machine: Machine, warm: SavedState, token: str) -> dict[str, Path]:
    """Create a root on that of a warm box; nothing uses it yet."""
    below = warm_boxes.root_of(warm)
    return saved_states.put_root(machine.services, machine.fqdn, below, token, None)


def start(machine: Machine, warm: SavedState, run: Run) -> Target | None:
    """Start a VM that is off from a warm box; its root must be a new layer on the warm box's.

    Returns:
        The SSH target, as devvm's own account; None if that failed: the VM is off, its root has to
        be made anew, and it has to boot. A note says why.
    """
    try:
        with run.phase("restore", "Restoring the VM from its warm box"):
            return _restore(machine, warm, run)
    except DevvmError as error:
        _say_that_it_boots(error, run)
        machine.services.domains.shutdown(machine.require(), timeout=0, force=True)
        return None


def _say_that_it_boots(error: DevvmError, run: Run) -> None:
    reason = error.details or error.brief
    run.note(f"The VM boots: it could not be restored from its warm box ({reason})")


def _restore(machine: Machine, warm: SavedState, run: Run) -> Target:
    services, vm, key = machine.services, machine.require(), ssh.own_key(machine)
    assert key is not None
    change = DomainChange(
        name=vm.fqdn,
        uuid=vm.uuid,
        title=f"devvm {machine}",
        mac=vm.mac,
        disks={disk.role: disk.path for disk in vm.disks},
        facts=vm.metadata,
        oem_string=ssh.oem_string(key),
    )
    with services.state.wait_lock("memory"):  # the start of the file is written to
        services.memory.restore(warm_boxes.memory_of(warm), change)
    vm = machine.require()
    for disk in services.disks.of(vm.fqdn):
        if disk.role == DATA:  # the guest knows the size of the one that it was saved with
            services.disks.resize(vm, DATA, disk.size_bytes)
    run.detail("making it a machine of its own")
    run_program(machine, "thaw", f"{time.time():.3f}", vm.mac, machine.name, key)
    return ssh.wait(machine, run)


def run_program(machine: Machine, *arguments: str) -> None:
    """Run the box's program in a VM, for as long as a boot may take: it may check a large disk.

    Raises:
        OperationError: it failed, or the box has none.
    """
    services = machine.services
    timeout = services.config.vm.boot_timeout_seconds
    code, said = services.domains.run(machine.fqdn, [PROGRAM, *arguments], timeout=timeout)
    if code:
        lines = said.strip().splitlines() or [f"exit code {code}"]
        raise OperationError(f"{PROGRAM} failed in {machine}", details=lines[-1])
