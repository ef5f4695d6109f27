"""`rebuild`: give a VM a new root from a box; its name, address, keys and data stay.

A transaction: the old root and the data are saved until the new VM has passed every check, and any
failure before that restores the old VM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.disk import ROOT
from devvm.domain.errors import NotFoundError, ParityError
from devvm.domain.saved_state import DomainChange, Purpose, SavedState
from devvm.domain.vm import Engineer, Metadata, Vm, VmState
from devvm.operations.core import journal, naming, own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import journal as guest_log
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, gc, personalise, provision, repair, thaw
from devvm.operations.storage import base_image, frozen, saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.verify import gate
from devvm.operations.verify.verify import examine, examine_twice
from devvm.operations.vm import databases, lifecycle, requirements, restore
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class RebuildRequest:
    """What a person asked for."""

    name: str
    #: Used if devvm doesn't know who may log in to the VM; and for the shell, if it is theirs.
    engineer: Engineer
    release: str | None = None
    #: Token of what is created and saved, if the caller has to know it in advance.
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class RebuildResult:
    """The VM on its new root, which passed every check, and its state before."""

    vm: Vm
    report: Report
    previous: str | None  # identifier of the saved state in the trash


def rebuild(services: Services, request: RebuildRequest, run: Run) -> RebuildResult:
    """Give a VM a new root; undo everything unless the VM then passes every check.

    Raises:
        NotFoundError: there is no such VM, or no box of the release.
        UsageError: the release is another stack's, or can't use the VM's data.
        HostNotReadyError: the host lacks memory, disk space, or libvirt.
        LockedError: another command is changing the VM.
        ParityError: the new VM did not pass; the old one is back.
        OperationError: a step failed; the old VM is back.
    """
    machine = Machine(services, request.name)
    with transaction.changing(machine, run, start=False) as before:
        same = before and before.journal.get("release") == request.release
        if before and same and before.done(journal.REBUILD):
            return _result(machine, run, before.journal["token"])
        return carry_out(services, request, run, was_running=bool(before and before.was_running))


def carry_out(
    services: Services, request: RebuildRequest, run: Run, *, was_running: bool = False
) -> RebuildResult:
    """Like `rebuild`, for a caller that holds the lock and has ended earlier operations.

    Args:
        services: The adapters to use.
        request: What was asked for.
        run: Reports the phases.
        was_running: Whether the VM counts as running even if it is off.

    Raises:
        DevvmError: like `rebuild`.
    """
    machine = Machine(services, request.name)
    vm, token = _present(machine, run), request.token or naming.new_token()
    runs = was_running or vm.state is VmState.RUNNING
    with (
        provision.recorded(machine, run),
        transaction.begin(
            machine, journal.REBUILD, run,
            token=token, was_running=runs, release=request.release,
        ),
    ):  # fmt: skip
        with run.phase("check", "Checking the host"):
            box = requirements.require_box(services, request.release)
            own_stack.refuse_another(vm, box.release, box.stack)
            databases.refuse_older(services, vm, box)
            if vm.state is VmState.SHUTOFF:
                requirements.require_memory(services, vm.memory_mib)
            requirements.require_space(services, box)
        facts = _facts(services, vm.known, request.engineer, box)
        warm = _replace_root(services, vm, box, facts, token, run)
        _start(machine, warm, box, token, run)
        with guest_log.kept_on_failure(machine, run):
            older = vm.known.release != box.release
            personalise.from_box(machine, facts.owner, box.release, run, older_data=older)
            with ssh.opening(machine):
                report = examine_twice(machine, release=box.release, run=run)
            demand_passed(services, report, run)
        present = machine.require().known  # its certificate may have been renewed
        services.domains.set_metadata(vm.uuid, replace(present, ready=True))
        _let_go(machine, saved_states.find(services, token))
    gc.collect(machine, run)
    return _result(machine, run, token, report)


def end(begun: Begun) -> Outcome:
    """Restore the old VM, unless the new one has passed every check."""
    machine, token = begun.machine, begun.token
    vm, kept = machine.vm(), saved_states.find(machine.services, token)
    ready = vm is not None and vm.metadata is not None and vm.metadata.ready
    if vm is not None and ready and transaction.made_by(vm, token):
        _let_go(machine, kept)
        return "finished"
    if kept is not None:
        begun.run.note(f"Restoring {machine} as it was")
        restore.put_back(machine, kept, token)
    else:
        saved_states.delete_created_by(machine, token)
    transaction.start_again(begun)
    return "undone"


def _let_go(machine: Machine, kept: SavedState | None) -> None:
    """Move the old VM to the trash, as the new one has passed."""
    if kept is not None and kept.purpose is Purpose.PREVIOUS:
        saved_states.to_trash(machine.services, kept, kept.label)
    repair.write_files(machine)


def _present(machine: Machine, run: Run) -> Vm:
    vm = machine.vm() or repair.redefine(machine)
    if vm is None:
        lifecycle.get(machine)  # raises if there is nothing at all
        raise NotFoundError(
            f"the libvirt domain of {machine} is gone, and there is no record of what it was",
            resolution=f"devvm recover {machine}",
        )
    if ssh.missing_files(machine, vm.fqdn):
        repair.restore_ssh(machine.services, vm, run)
    return machine.require()


def _facts(services: Services, metadata: Metadata, engineer: Engineer, box: Box) -> Metadata:
    known = bool(metadata.authorized_keys or metadata.git_name)
    return replace(
        metadata,
        release=box.release,
        stack=box.stack or metadata.stack,
        ready=False,
        generation=metadata.generation + 1,
        engineer=metadata.engineer or engineer.login,
        authorized_keys=metadata.authorized_keys if known else engineer.authorized_keys,
        git_name=metadata.git_name if known else engineer.git_name,
        git_email=metadata.git_email if known else engineer.git_email,
        shell=(engineer.login == metadata.engineer and engineer.shell) or metadata.shell,
        databases=databases.versions(services, box.release, box.packages, metadata.databases),
        update_to="",
        update_by="",
        restore_point="",
    )


def _replace_root(
    services: Services, vm: Vm, box: Box, facts: Metadata, token: str, run: Run
) -> SavedState | None:
    """Set the old root aside, and give the VM one on that of a warm box if one fits.

    Returns:
        The warm box; None if the new root is on the box's image, so that the VM has to boot.
    """
    with run.phase("stop", "Shutting the VM down"):
        provision.power_off(services, vm, timeout=transaction.STOP_TIMEOUT)
    with run.phase("disks", "Setting the old root aside"):
        image = base_image.place(services, box, run)
        size = saved_states.root_bytes(services, image, vm.root)
        warm = _warm_box(services, vm, box, size, run)
        persistent = [disk for disk in vm.disks if disk.role != ROOT]
        disks = saved_states.put_layers(services, vm.fqdn, persistent, token)
        below = frozen.path_of(warm, ROOT) if warm else image
        disks |= saved_states.put_root(services, vm.fqdn, below, token, vm.root)
        saved_states.keep(
            services,
            vm,
            token=token,
            purpose=Purpose.PREVIOUS,
            label=f"before the rebuild to {box.release}",
        )
        change = DomainChange(disks=disks, facts=facts)
        services.domains.define(services.domains.definition(vm.fqdn), change)
    return warm


def _warm_box(services: Services, vm: Vm, box: Box, root_bytes: int, run: Run) -> SavedState | None:
    if not services.config.vm.warm:
        return None
    fits = frozen.fits(
        services, driver=vm.driver, cpus=vm.cpus, memory_mib=vm.memory_mib, root_bytes=root_bytes
    )
    roles = {disk.role for disk in vm.disks}
    return thaw.usable(services, box.release, run, fits=fits, disks=roles, driver=vm.driver)


def _start(machine: Machine, warm: SavedState | None, box: Box, token: str, run: Run) -> None:
    """Start a VM whose root is new: from the warm box that the root is on, if it is on one."""
    services = machine.services
    if warm is not None:
        lifecycle.prepare(machine, run)
        if thaw.start(machine, warm, run) is not None:
            certificate.keep_valid(machine, run)
            return
        vm, image = machine.require(), base_image.place(services, box, run)
        saved_states.put_root(services, vm.fqdn, image, token, vm.root)
    lifecycle.power_on(machine, run)


def demand_passed(services: Services, report: Report, run: Run) -> None:
    """Make sure that a VM passed every check.

    Raises:
        ParityError: it did not; the caller restores it.
    """
    gate.demand_passed(
        services, report, run,
        what=report.vm,
        against=f"on the release {report.release}",
        outcome="it is as it was before",
        meanwhile=f"meanwhile you can use {report.vm} as it was",
        resolution="devvm box build",
        kind=ParityError,
    )  # fmt: skip


def _result(machine: Machine, run: Run, token: str, report: Report | None = None) -> RebuildResult:
    vm = machine.require()
    if report is None:
        lifecycle.power_on(machine, run)
        report = examine(machine, release=vm.known.release, run=run)
    kept = saved_states.find(machine.services, token)
    return RebuildResult(vm=vm, report=report, previous=kept.id if kept else None)
