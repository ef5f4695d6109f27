"""Start a VM with the memory of a frozen one, instead of booting it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace

from devvm.domain.disk import DATA, MEMORY, ROOT
from devvm.domain.errors import DevvmError, OperationError
from devvm.domain.saved_state import DomainChange, Purpose, SavedState
from devvm.domain.vm import Driver, Target
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.storage import frozen, saved_states
from devvm.ports.services import Services

#: In a box; makes the machine itself when it is restored.
PROGRAM = "/usr/lib/devvm/warm"


def usable(
    services: Services, release: str, run: Run, *, fits: str, disks: set[str], driver: Driver
) -> SavedState | None:
    """The warm box that a VM can be restored from; None if it has to boot, after saying why.

    Nothing is said where there is no warm box.

    Args:
        services: The adapters to use.
        release: The VM's release.
        run: Notes why the VM has to boot.
        fits: Which memories the VM can be restored from.
        disks: The roles of its disks.
        driver: KVM or emulation.
    """
    warm = frozen.warm_box(services, release)
    if warm is None:
        return None
    if lost := frozen.lost(services, warm):
        run.note(
            f"The VM boots: the warm box has lost {', '.join(lost)}; to make another: devvm box "
            f"warm {release}"
        )
        return None
    if disks != {ROOT, DATA}:
        run.note("The VM boots: it has other disks than the warm box")
        return None
    if fits != warm.fits:
        stale = not warm.fits.startswith(services.host.emulator(driver))
        run.note(
            f"The VM boots: the warm box is for {warm.fits}; this VM has {fits}"
            + (f"; to make another: devvm box warm {release}" if stale else "")
        )
        return None
    return warm


def start_new(
    machine: Machine,
    kept: SavedState,
    run: Run,
    *,
    token: str,
    change: DomainChange,
    data_bytes: int | None = None,
    identity: Mapping[str, str] | None = None,
) -> Target | None:
    """Define a VM on new layers, and start it from a frozen one.

    Args:
        machine: The VM.
        kept: A warm box or a spare.
        run: Reports the phase.
        token: For the names of the layers.
        change: What it is, without the disks that the frozen VM has.
        data_bytes: The size of the data disk, if the frozen VM has one.
        identity: The files of its identity, which go to that data disk.

    Returns:
        The SSH target, as devvm's own account; None if that failed: there is no such domain, and
        the VM has to be started in another way. A note says why.
    """
    services = machine.services
    below = frozen.path_of(kept, ROOT)
    layers = saved_states.put_root(services, machine.fqdn, below, token, None)
    if frozen.has_data(kept):
        volume = naming.volume_of(machine.fqdn, DATA, token)
        layers[DATA] = services.volumes.layer(volume, frozen.path_of(kept, DATA), data_bytes)
    change = replace(change, disks={**change.disks, **layers})
    try:
        memory = frozen.path_of(kept, MEMORY)
        services.domains.define(services.memory.definition(memory), change)
    except DevvmError as error:
        _say(error, kept, run)
        target = None
    else:
        target = start(machine, kept, run, identity)
    if target is None:
        services.domains.remove(machine.fqdn)
        saved_states.release(services, layers.values())
    return target


def start(
    machine: Machine, kept: SavedState, run: Run, identity: Mapping[str, str] | None = None
) -> Target | None:
    """Start a VM that is off from a frozen one; its disks must be new layers on that one's.

    Args:
        machine: The VM.
        kept: A warm box or a spare.
        run: Reports the phase.
        identity: Files for its data disk, if that was the frozen VM's.

    Returns:
        The SSH target, as devvm's own account; None if that failed: the VM is off, its layers have
        to be made anew, and it has to be started in another way. A note says why.
    """
    try:
        with run.phase(*_phase(kept)):
            return _restore(machine, kept, run, identity)
    except DevvmError as error:
        _say(error, kept, run)
        machine.services.domains.shutdown(machine.require(), timeout=0, force=True)
        return None


def _phase(kept: SavedState) -> tuple[str, str]:
    if kept.purpose is Purpose.SPARE:
        return "take", "Taking a spare VM"
    return "restore", "Restoring the VM from its warm box"


def _say(error: DevvmError, kept: SavedState, run: Run) -> None:
    reason = error.details or error.brief
    if kept.purpose is Purpose.SPARE:
        run.note(f"A spare could not be used ({reason})")
    else:
        run.note(f"The VM boots: it could not be restored from its warm box ({reason})")


def _restore(
    machine: Machine, kept: SavedState, run: Run, identity: Mapping[str, str] | None
) -> Target:
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
        services.memory.restore(frozen.path_of(kept, MEMORY), change)
    vm = machine.require()
    for disk in services.disks.of(vm.fqdn):
        if disk.role == DATA:  # the guest knows the size of the one that it was saved with
            services.disks.resize(vm, DATA, disk.size_bytes)
    run.detail("making it a machine of its own")
    run_program(
        machine, "thaw", f"{time.time():.3f}", vm.mac, machine.name, key,
        stdin=json.dumps(dict(identity)) if identity else "",
    )  # fmt: skip
    return ssh.wait(machine, run)


def run_program(machine: Machine, *arguments: str, stdin: str = "") -> None:
    """Run the box's program in a VM, for as long as a boot may take: it may check a large disk.

    Raises:
        OperationError: it failed, or the box has none.
    """
    services = machine.services
    timeout = services.config.vm.boot_timeout_seconds
    code, said = services.domains.run(
        machine.fqdn, [PROGRAM, *arguments], timeout=timeout, stdin=stdin
    )
    if code:
        lines = said.strip().splitlines() or [f"exit code {code}"]
        raise OperationError(f"{PROGRAM} failed in {machine}", details=lines[-1])
