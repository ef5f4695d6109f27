"""Ends what a killed or failed operation began: finishes it or undoes it.

An operation that fails ends by the same code as one that was killed and is found by the next
command, whichever that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from devvm.domain.errors import OperationError
from devvm.domain.model import DESTROYED, DomainChange, Kept, Purpose, Vm, VmState
from devvm.operations.core import journal as journals
from devvm.operations.core import naming
from devvm.operations.core.progress import Run
from devvm.operations.provision import gc, provision, repair
from devvm.operations.storage import saved_states
from devvm.ports.services import Services

#: Seconds for a guest to shut down in order before its plug is pulled.
STOP_TIMEOUT = 90.0

Outcome = Literal["finished", "undone"]
Journal = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What an earlier command had begun, and how it was ended."""

    operation: str
    outcome: Outcome
    journal: Journal

    def done(self, operation: str) -> bool:
        """Whether it was this operation, and all that was left of it was to end it."""
        return self.operation == operation and self.outcome == "finished"

    @property
    def was_running(self) -> bool:
        """Whether the VM ran before that operation began."""
        return bool(self.journal.get("was_running"))


@dataclass(frozen=True, kw_only=True)
class _Unfinished:
    """What an operation had begun."""

    services: Services
    name: str
    journal: Journal
    run: Run
    killed: bool
    start: bool

    @property
    def token(self) -> str:
        """What all that the operation made has in its name."""
        return str(self.journal["token"])


@contextmanager
def changing(
    services: Services, name: str, run: Run, *, start: bool = True
) -> Iterator[Settled | None]:
    """Hold a VM's lock, and first end what an earlier command had begun and not ended.

    Args:
        services: What the operation may use.
        name: The VM's name.
        run: Where phases go.
        start: Whether to start a VM again that ran before; not worth it where the command is to
            stop it, which then has to see to it itself.

    Raises:
        LockedError: somebody is changing this VM.
        DevvmError: it can't be ended; the journal stays, and the next command tries again.
    """
    with services.state.lock(name, run.command):
        yield settle(services, name, run, start=start)


@contextmanager
def settled_on_failure(services: Services, name: str, run: Run) -> Iterator[None]:
    """End the operation, one way or the other, when the block fails or is interrupted."""
    try:
        yield
    except BaseException as error:
        try:
            settled = settle(services, name, run, killed=False)
            if settled is not None and settled.outcome == "finished":
                run.note(f"The {settled.operation} of {name} was finished all the same")
        except Exception as second:
            run.note(
                f"Undoing failed too: {second}. Nothing is lost: the same command, typed again, "
                "goes on with it, and so does devvm doctor --fix"
            )
            raise error from second
        raise


def settle(
    services: Services, name: str, run: Run, *, killed: bool = True, start: bool = True
) -> Settled | None:
    """End the VM's unfinished operation; None where there is none."""
    journal = services.state.journal(name)
    if journal is None:
        return None
    operation = str(journal["operation"])
    if operation not in _SETTLE:
        raise OperationError(
            f"{name} is in the middle of an operation that this devvm does not know: {operation}",
            details=f"begun {journal['started_at']}, perhaps by a newer devvm",
            resolution="finish it with the devvm that began it",
        )
    if killed:
        run.note(f"An earlier {operation} of {name}, of {journal['started_at']}, has not ended")
    if killed:
        services.hypervisor.ensure_pool()  # the host may have been restarted since
    outcome = _SETTLE[operation](
        _Unfinished(
            services=services, name=name, journal=journal, run=run, killed=killed, start=start
        )
    )
    services.state.close_journal(name)
    saved = services.state.vm(name) / repair.DEFINITION  # of a domain that somebody deleted
    if services.hypervisor.vm(name) is None and not saved.is_file():
        services.state.forget(name)
    if killed:
        run.note(f"The {operation} of {name} was {outcome}")
    return Settled(operation=operation, outcome=outcome, journal=journal)


def finish_destroy(services: Services, name: str, journal: Journal) -> None:
    """Move a VM, or what is left of one, to the trash; give its place on the network back.

    Where it was to be deleted for good, it is in the trash first, too: what is deleted is known
    there until the last of it is gone.
    """
    vm = services.hypervisor.vm(name)
    token = journal["token"]
    if vm is None:
        vm = repair.redefine(services, name)
    if vm is not None:
        provision.power_off(services, vm, timeout=STOP_TIMEOUT)
        saved_states.keep(services, vm, token=token, purpose=Purpose.TRASH, label=DESTROYED)
        services.hypervisor.undefine(vm.fqdn)
    elif lost := saved_states.lost_volumes(services, name):
        saved_states.keep_volumes(services, repair.unknown(name), tuple(lost), token)
    with services.state.wait_lock("network"):
        services.hypervisor.release_lease(name)
    if journal.get("purge") and (kept := saved_states.find(services, token)):
        gc.purge(services, kept)
    services.state.forget(name)  # the journal too


def purge(services: Services, name: str, doomed: Iterable[Kept], run: Run) -> list[str]:
    """Delete kept states of a VM for good; the volumes that are gone. The VM's lock is held.

    Where there is no room for a journal it goes on without: it is what makes room.
    """
    every = [state for kept in doomed for state in gc.with_snapshots(services, kept)]
    volumes = {path for kept in every for path in saved_states.layers_under(services, kept.disks)}
    facts = {
        "command": run.command,
        "kept": [kept.id for kept in every],
        "labels": [kept.label for kept in every],
        "volumes": sorted(map(str, volumes)),
    }
    with suppress(OperationError):
        services.state.open_journal(name, journals.PURGE, facts)
    with settled_on_failure(services, name, run):
        _delete(services, facts)
        gc.tidy(services, name, run)
        settle(services, name, run, killed=False)
    left = {volume.path for volume in services.hypervisor.volumes()}
    return sorted(path.name for path in volumes - left)


def put_back(services: Services, name: str, kept: Kept, token: str) -> None:
    """Give a VM the disks and facts that it had, and drop what an operation made in their place."""
    vm = services.hypervisor.vm(name)
    fqdn = naming.fqdn_of(services.config, name)
    change = DomainChange(
        name=fqdn,
        uuid=kept.uuid,
        title=f"devvm {name}",
        disks={disk.role: disk.path for disk in kept.disks},
        facts=kept.vm,
    )
    if vm is not None:
        provision.power_off(services, vm, timeout=0)
    source = saved_states.domain_of(services, kept) if vm is None else fqdn
    services.hypervisor.define(services.hypervisor.definition(source), change)
    saved_states.forget_kept(services, kept)
    saved_states.release_made_by(services, name, token)


def _create(task: _Unfinished) -> Outcome:
    vm = task.services.hypervisor.vm(task.name)
    if vm is not None and vm.metadata and vm.metadata.ready and vm.uuid == task.journal.get("uuid"):
        repair.write_files(task.services, task.name)
        return "finished"
    task.run.note(f"Undoing what was done for {task.name}")
    if vm is not None and vm.metadata and vm.metadata.ready:  # another VM, that has been finished
        saved_states.release_made_by(task.services, task.name, task.token)
        return "undone"
    provision.take_down(task.services, task.name)
    return "undone"


def _destroy(task: _Unfinished) -> Outcome:
    finish_destroy(task.services, task.name, task.journal)
    return "finished"


def _rebuild(task: _Unfinished) -> Outcome:
    vm, kept = task.services.hypervisor.vm(task.name), saved_states.find(task.services, task.token)
    done = vm is not None and _made_by(vm, task.token) and bool(vm.metadata and vm.metadata.ready)
    if done:
        if kept is not None and kept.purpose is Purpose.PREVIOUS:
            saved_states.to_trash(task.services, kept, kept.label)
        repair.write_files(task.services, task.name)
        return "finished"
    if kept is not None:
        task.run.note(f"Bringing {task.name} back as it was")
        put_back(task.services, task.name, kept, task.token)
    else:
        saved_states.release_made_by(task.services, task.name, task.token)
    _start_again(task)
    return "undone"


def _recover(task: _Unfinished) -> Outcome:
    vm, kept = (
        task.services.hypervisor.vm(task.name),
        saved_states.find(task.services, task.journal["kept"]),
    )
    if kept is None:  # the last thing that it lets go of
        return "finished"
    if vm is not None and vm.uuid == kept.uuid:
        provision.power_off(task.services, vm, timeout=0)
        task.services.hypervisor.undefine(vm.fqdn)
    saved_states.release_made_by(task.services, task.name, task.token)
    with task.services.state.wait_lock("network"):
        task.services.hypervisor.release_lease(task.name)
    task.services.state.forget(task.name)
    return "undone"


def _snapshot(task: _Unfinished) -> Outcome:
    vm = task.services.hypervisor.vm(task.name)
    if vm is None or not _made_by(vm, task.token):
        saved_states.release_made_by(task.services, task.name, task.token)
        return "undone"
    if task.journal["temporary"]:  # for a clone, which is undone as well
        return "undone"
    saved_states.keep(
        task.services,
        vm,
        token=task.token,
        purpose=Purpose(task.journal.get("purpose", Purpose.SNAPSHOT)),
        label=task.journal["label"],
        disks={role: Path(path) for role, path in task.journal["disks"].items()},
        consistency=task.journal["consistency"],
    )
    return "finished"


def _restore(task: _Unfinished) -> Outcome:
    vm = task.services.hypervisor.vm(task.name)
    done = vm is not None and _made_by(vm, task.token)
    if not done:
        before = saved_states.find(task.services, task.token)
        if before is not None:
            saved_states.forget_kept(task.services, before)
        saved_states.release_made_by(task.services, task.name, task.token)
    elif task.journal["consume"] and (
        kept := saved_states.find(task.services, task.journal["kept"])
    ):
        saved_states.forget_kept(task.services, kept)
    repair.write_files(task.services, task.name)
    _start_again(task)
    return "finished" if done else "undone"


def _clone(task: _Unfinished) -> Outcome:
    outcome = _create(task)
    if task.journal["temporary"]:
        snapshot = saved_states.find(task.services, task.journal["kept"])
        if snapshot is not None:
            saved_states.forget_kept(task.services, snapshot)
    return outcome


def _resize(task: _Unfinished) -> Outcome:
    """A disk is as large as it was or as it was to be; its file system grows at the next start."""
    vm = task.services.hypervisor.vm(task.name)
    sizes = {d.role: d.size_bytes for d in task.services.hypervisor.disks(vm.fqdn)} if vm else {}
    done = all(sizes.get(role, 0) >= size for role, size in task.journal["sizes"].items())
    return "finished" if done else "undone"


def _purge(task: _Unfinished) -> Outcome:
    _delete(task.services, task.journal)
    vm = task.services.hypervisor.vm(task.name)
    if vm is not None:
        gc.drop_void(task.services, vm)
        repair.write_files(task.services, task.name)  # a killed merge leaves no definition
    if task.killed:  # who interrupted it is not kept waiting while layers are merged
        gc.tidy(task.services, task.name, task.run)
    return "finished"


def _delete(services: Services, journal: Journal) -> None:
    for identifier in journal["kept"]:
        if kept := saved_states.find(services, identifier):
            gc.purge(services, kept)
    saved_states.release(services, map(Path, journal["volumes"]))


_SETTLE: Mapping[str, Callable[[_Unfinished], Outcome]] = {
    journals.CREATE: _create,
    journals.DESTROY: _destroy,
    journals.REBUILD: _rebuild,
    journals.RECOVER: _recover,
    journals.SNAPSHOT: _snapshot,
    journals.RESTORE: _restore,
    journals.CLONE: _clone,
    journals.RESIZE: _resize,
    journals.PURGE: _purge,
}


def _made_by(vm: Vm, token: str) -> bool:
    """Whether the VM's disks are what an operation made."""
    return any(f".{token}." in disk.path.name for disk in vm.disks)


def _off(vm: Vm) -> bool:
    return vm.state is VmState.SHUTOFF


def _start_again(task: _Unfinished) -> None:
    """Power the VM on where it ran before the operation; nobody waits for it."""
    services, vm = task.services, task.services.hypervisor.vm(task.name)
    if task.start and vm is not None and _off(vm) and task.journal["was_running"]:
        task.run.note(f"Starting {task.name} again, as it ran before")
        with services.state.wait_lock("network"):
            services.hypervisor.ensure_network()
            services.hypervisor.reserve_lease(task.name, vm.mac)
        services.hypervisor.start(vm)
