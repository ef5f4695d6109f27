"""`update`: bring a VM to a release, in place or on a new root.

The VM's state is saved first, and restored unless the VM then passes every check. The VM's metadata
names the release that it is being updated to, so that the next command recognizes a killed update,
and another `update` continues it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from devvm.domain.check import Report
from devvm.domain.errors import DevvmError, LockedError, OperationError, ParityError
from devvm.domain.release.stack import Release
from devvm.domain.release.strategy import Kind, Strategy
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import journal, naming, own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import home_backup, ssh
from devvm.operations.guest import journal as guest_log
from devvm.operations.provision import certificate, gc, personalise, provision
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.update import rollback, strategy
from devvm.operations.update.strategy import Choice
from devvm.operations.verify.verify import examine, examine_twice
from devvm.operations.vm import databases, lifecycle, rebuild, requirements, snapshots
from devvm.ports.services import Services

#: Called when an update begins, with the VM, the strategy, and the token of the state to save.
Begin = Callable[[Vm, Strategy, str], None]

_PLAYBOOK = "update.yml"


@dataclass(frozen=True, kw_only=True)
class UpdateRequest:
    """What a person or a rollout asked for.

    Attributes:
        name: The VM's name.
        release: The recorded release to bring it to.
        rebuild: Whether to rebuild in any case.
        choice: The strategy, if it was chosen earlier so that a person could agree to it.
    """

    name: str
    release: str
    rebuild: bool = False
    choice: Choice | None = None


@dataclass(frozen=True, kw_only=True)
class Updated:
    """A VM on a release, checked.

    Attributes:
        vm: The VM.
        report: The result of the checks.
        strategy: How it was updated; None if it was on the release already.
        previous: Identifier of the state in the trash that it can go back to.
    """

    vm: Vm
    report: Report
    strategy: Strategy | None = None
    previous: str | None = None


def update(
    services: Services, request: UpdateRequest, run: Run, *, begin: Begin | None = None
) -> Updated:
    """Bring a VM to a release; restore it as it was if that fails or a check does.

    The data disk stays, and its state before any migration is saved. The lock is held from before
    the VM is examined, so that nothing can change in between.

    Args:
        services: The adapters to use.
        request: What was asked for.
        run: Reports the phases.
        begin: Called before anything is changed. If it raises, the update ends.

    Raises:
        NotFoundError: there is no such VM, or the release is not on record.
        UsageError: the release is retired or another stack's, or can't use the VM's data.
        HostNotReadyError: the host lacks disk space or libvirt.
        LockedError: another command is changing the VM, or has since the choice was made.
        ParityError: the VM did not pass; it is as before.
        OperationError: a step failed; the VM is as before.
    """
    machine, release = Machine(services, request.name), strategy.in_use(services, request.release)
    # the same VM, with the roles and checks of the new release
    theirs = replace(machine, services=strategy.of_release(services, release.release))
    with transaction.changing(machine, run) as before:
        own_stack.refuse_another(lifecycle.present(machine), release.release, release.stack)
        rebuilt = bool(before and before.done(journal.REBUILD))
        vm = _up(machine, run)
        home_backup.put_back(machine, run)  # left by a rollback that was killed
        if strategy.is_on(vm, release.release) and (rebuilt or not request.rebuild):
            report = examine(theirs, release=release.release, run=run)
            rollback.no_update(machine, release=release.release)
            return Updated(vm=lifecycle.get(machine), report=report)
        chosen = _chosen(services, request, vm, release, run)
        token = _token(services, vm, release, chosen)
        if begin is not None:
            begin(vm, chosen, token)
        elif request.choice is None:
            run.note(f"{machine}: {chosen.kind} ({chosen.reason})")
        if chosen.kind is Kind.REBUILD:
            return _rebuild(machine, theirs, vm, release, chosen, token, run)
        updated = _converge(machine, theirs, release, chosen, token, run)
        if begin is None:  # in a rollout, a later operation does it for all VMs
            gc.collect(machine, run)
        return updated


def choose(services: Services, vm: Vm, release: Release, run: Run, *, rebuild: bool) -> Choice:
    """Choose how to update a running VM; logs in to it, which takes a while."""
    return Choice(strategy=_find_strategy(services, vm, release, run, rebuild=rebuild), vm=vm)


def _chosen(
    services: Services, request: UpdateRequest, vm: Vm, release: Release, run: Run
) -> Strategy:
    """The strategy chosen earlier, or else one chosen now. The caller holds the lock."""
    choice = request.choice
    if choice is None:
        return _find_strategy(services, vm, release, run, rebuild=request.rebuild)
    if not choice.holds_for(vm):
        raise LockedError(
            f"{vm.name} changed while its update was being prepared",
            details="what devvm found out about it may no longer be true",
            resolution=f"devvm update {vm.name} --release {release.release}",
        )
    return choice.strategy


def _find_strategy(
    services: Services, vm: Vm, release: Release, run: Run, *, rebuild: bool
) -> Strategy:
    if rebuild:
        return Strategy.rebuild("requested")
    return strategy.for_vm(services, vm, release, run)


def _up(machine: Machine, run: Run) -> Vm:
    """Start a VM if it is off, as only a running VM can be examined."""
    vm = _finished(machine)
    if vm.state is not VmState.RUNNING:
        with provision.recorded(machine, run):
            lifecycle.bring_up(machine, run)
    return lifecycle.present(machine)


def _converge(
    machine: Machine, theirs: Machine, release: Release, chosen: Strategy, token: str, run: Run
) -> Updated:
    services = machine.services
    with provision.recorded(machine, run):
        vm = _finished(machine)
        if vm.state is not VmState.RUNNING:  # shut down from inside since
            lifecycle.power_on(machine, run)
        else:  # for a VM that never stops, there is no other occasion
            certificate.keep_valid(machine, run)
        vm = lifecycle.present(machine)
        requirements.require_space(services, None)
        databases.refuse_older(services, vm, requirements.require_box(services, release.release))
        kept = _restore_point(machine, vm, release, token, run)
        with (
            _back_on_failure(machine, release, kept, run),
            guest_log.kept_on_failure(machine, run),
        ):
            with run.phase("converge", f"Applying {_what(chosen)}"):
                theirs.services.provisioner.apply(
                    _PLAYBOOK,
                    ssh.target(machine, login="vagrant"),
                    variables={
                        **services.config.box.role_variables,
                        "update_packages": list(chosen.packages),
                        "update_removed": list(chosen.removed),
                    },
                    detail=run.detail,
                    log=run.log(services.state),
                    tags=() if chosen.every_role else ("packages", *chosen.roles),
                )
            personalise.again(theirs, vm.known.owner, release.release, run)
            report = examine_twice(theirs, release=release.release, run=run)
            rebuild.demand_passed(services, report, run)
        ran = databases.versions(services, release.release, release.packages, vm.known.databases)
        rollback.no_update(machine, release=release.release, databases=ran)
    vm = lifecycle.get(machine)
    return Updated(vm=vm, report=report, strategy=chosen, previous=kept.id)


def _what(chosen: Strategy) -> str:
    return "all roles" if chosen.every_role else ", ".join(chosen.roles) or "package changes only"


def _rebuild(
    machine: Machine,
    theirs: Machine,
    vm: Vm,
    release: Release,
    chosen: Strategy,
    token: str,
    run: Run,
) -> Updated:
    home_backup.mark(machine, token)
    wanted = rebuild.RebuildRequest(
        name=machine.name, engineer=vm.known.owner, release=release.release, token=token
    )
    try:
        done = rebuild.carry_out(theirs.services, wanted, run)
    except (OperationError, ParityError) as error:
        if machine.journal() is None and machine.vm() is not None:
            rollback.report_back(machine, run)
        raise _failed(machine, release, error, run.log(machine.services.state)) from error
    return Updated(vm=done.vm, report=done.report, strategy=chosen, previous=done.previous)


def _finished(machine: Machine) -> Vm:
    vm = lifecycle.present(machine)
    if vm.metadata is None or not vm.metadata.engineer or not vm.metadata.ready:
        raise OperationError(
            f"{machine} is not finished, or devvm does not know who it belongs to",
            resolution=f"devvm rebuild {machine}",
        )
    return vm


def _token(services: Services, vm: Vm, release: Release, chosen: Strategy) -> str:
    """The token of the state to go back to: that of a killed update if it has saved one."""
    if chosen.kind is Kind.CONVERGE and strategy.began(vm, release):
        token = vm.known.restore_point
        if saved_states.find(services, token, of=vm.fqdn) is not None:
            return token
    return naming.new_token()


def _restore_point(machine: Machine, vm: Vm, release: Release, token: str, run: Run) -> SavedState:
    """Save the state to go back to, unless a killed update has done so."""
    services = machine.services
    kept = saved_states.find(services, token, of=vm.fqdn)
    if kept is not None:
        return kept
    with run.phase("restore-point", "Saving the disks as they are"):
        home_backup.mark(machine, token)
        label = f"before the update to {release.release}"
        kept = snapshots.take(machine, label, run, token=token, purpose=Purpose.TRASH)
    facts = replace(vm.known, update_to=release.release, restore_point=kept.id)
    services.domains.set_metadata(vm.uuid, facts)
    return kept


@contextmanager
def _back_on_failure(
    machine: Machine, release: Release, kept: SavedState, run: Run
) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        log = run.log(machine.services.state)
        try:
            rollback.exchange(machine, release.release, kept.id, run)
        except DevvmError as second:
            run.note(
                f"Going back failed too: {second}. Nothing is lost: "
                f"devvm recover {machine} --item {kept.id}"
            )
            raise error from second
        if not isinstance(error, DevvmError):
            raise
        rollback.report_back(machine, run)
        raise _failed(machine, release, error, log) from error


def _failed(machine: Machine, release: Release, error: DevvmError, log: Path) -> DevvmError:
    """The error that tells a person what failed, and where the log is."""
    kind = ParityError if isinstance(error, ParityError) else OperationError
    return kind(
        f"{machine} could not be updated to {release.release}: {error.brief}",
        details=error.details,
        resolution=error.resolution,
        log=error.log or log,
        cause=error,
    )
