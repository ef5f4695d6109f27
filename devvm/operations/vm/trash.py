"""`destroy`, `recover`, `trash`: what is destroyed or replaced can be restored for a while."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devvm.domain.check import Report
from devvm.domain.errors import ExistsError, NotFoundError, OperationError, UsageError
from devvm.domain.saved_state import DESTROYED, DomainChange, Purpose, SavedState
from devvm.domain.vm import Vm
from devvm.operations.core import journal, naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import gc, provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.verify.verify import examine
from devvm.operations.vm import lifecycle, restore
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class Destroyed:
    """A VM that was destroyed, and its state in the trash."""

    name: str
    kept: SavedState | None  # None if there was nothing to save, or it was deleted for good


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A VM that was recovered, and the result of its checks."""

    vm: Vm
    report: Report


def destroy(services: Services, name: str, run: Run, *, purge: bool = False) -> Destroyed:
    """Move a VM, or the remnants of one, to the trash, without asking.

    Args:
        services: The adapters to use.
        name: The VM's name.
        run: Reports the phases.
        purge: Whether to delete it for good instead.

    Raises:
        NotFoundError: there is nothing of this name.
    """
    machine = Machine(services, name)
    with transaction.changing(machine, run, start=False) as before:
        token, uuids = _destroyed_by(machine, before), {}
        if token is None:
            token, uuids = naming.new_token(), {"uuid": lifecycle.get(machine).uuid}
        if uuids or (purge and saved_states.find(services, token) is not None):
            what = f"Deleting {name} for good" if purge else f"Moving {name} to the trash"
            with (
                transaction.begin(machine, journal.DESTROY, run, purge=purge, token=token, **uuids),
                run.phase("destroy", what),
            ):
                _put_away(machine, token, purge=purge)
        done = Destroyed(name=name, kept=saved_states.find(services, token))
        gc.collect(machine, run)
    return done


def end_destroy(begun: Begun) -> Outcome:
    """Finish a destroy: the person asked for it."""
    _put_away(begun.machine, begun.token, purge=bool(begun.journal.get("purge")))
    return "finished"


def _put_away(machine: Machine, token: str, *, purge: bool) -> None:
    """Move a VM, or remnants of one, to the trash; release its DHCP lease.

    With `purge`, it goes to the trash first, too: so devvm knows what to delete until all of it is
    gone.
    """
    services = machine.services
    vm = machine.vm() or repair.redefine(machine)
    if vm is not None:
        provision.power_off(services, vm, timeout=transaction.STOP_TIMEOUT)
        saved_states.keep(services, vm, token=token, purpose=Purpose.TRASH, label=DESTROYED)
        services.domains.undefine(vm.fqdn)
    elif lost := saved_states.lost_volumes(machine):
        saved_states.keep_volumes(services, repair.unknown(machine.name), tuple(lost), token)
    machine.release_lease()
    if purge and (kept := saved_states.find(services, token)):
        gc.purge(services, kept)
    services.state.forget(machine.name)  # the journal too


def _destroyed_by(machine: Machine, before: transaction.Ended | None) -> str | None:
    """The token of an earlier command that destroyed or undid the VM; None if none did."""
    if before is None:
        return None
    undone = before.operation in (journal.CREATE, journal.CLONE)
    if before.done(journal.DESTROY) or (undone and not lifecycle.exists(machine)):
        return str(before.journal.get("token", ""))
    return None


def recover(services: Services, name: str, run: Run, *, identifier: str | None = None) -> Recovered:
    """Restore a VM from the trash, and start it.

    Args:
        services: The adapters to use.
        name: The VM's name.
        run: Reports the phases.
        identifier: Which state; by default, the VM that was destroyed last. If the VM exists, its
            present state goes to the trash.

    Raises:
        NotFoundError: there is nothing of the VM in the trash.
        ExistsError: there is a VM of this name, and no state was named.
        LockedError: another command is changing the VM.
        OperationError: a step failed; it is in the trash as before.
    """
    machine = Machine(services, name)
    with transaction.changing(machine, run, start=False) as before:
        done = before and (
            (before.done(journal.RECOVER) and identifier in (None, before.journal["kept"]))
            or (before.done(journal.RESTORE) and before.journal["kept"] == identifier)
        )
        if not done:
            vm = machine.vm()
            kept = _choose(machine, identifier, vm, run)
            with provision.recorded(machine, run):
                if vm is not None and kept is not None:
                    restore.exchange(machine, kept, run, before=before, consume=True)
                elif kept is not None:
                    return _bring_back(machine, kept, run)
        return _checked(machine, run)


def takes_the_place(services: Services, name: str) -> bool:
    """Whether `recover` would replace the state of an existing VM."""
    return services.domains.vm(name) is not None


def items(services: Services, name: str | None = None) -> list[SavedState]:
    """The states in the trash, of one VM or of all, oldest first."""
    trash = [kept for kept in services.domains.saved_states() if kept.purpose is Purpose.TRASH]
    return [kept for kept in trash if name is None or kept.vm.name == name]


def show(services: Services, which: str) -> list[SavedState]:
    """The states in the trash with this VM name or identifier.

    Raises:
        NotFoundError: there are none.
    """
    found = [kept for kept in items(services) if which in (kept.vm.name, kept.id)]
    if not found:
        raise NotFoundError(
            f"there is nothing of {which} in the trash", resolution="devvm trash list"
        )
    return found


def doomed(services: Services, which: str) -> list[SavedState]:
    """Like `show`, but nothing if a killed command was deleting them.

    Raises:
        NotFoundError: there are none.
    """
    try:
        return show(services, which)
    except NotFoundError:
        begun = _unfinished(services)
        if which in begun or any(which in one["kept"] for one in begun.values()):
            return []
        raise


def empty(services: Services, doomed: Sequence[SavedState], run: Run) -> list[str]:
    """Delete states in the trash for good; return the names of the deleted volumes.

    Also deletes what a killed command began to delete.

    Raises:
        LockedError: another command is changing one of the VMs.
    """
    removed: list[str] = []
    for name in sorted({kept.vm.name for kept in doomed} | set(_unfinished(services))):
        machine = Machine(services, name)
        with transaction.changing(machine, run):
            there = [kept for kept in items(services, name) if kept in doomed]
            if there:
                with run.phase("purge", f"Deleting everything of {name} in the trash for good"):
                    removed += purge(machine, there, run)
    return removed


def purge(machine: Machine, doomed: Iterable[SavedState], run: Run) -> list[str]:
    """Delete saved states of a VM for good; return the names of the deleted volumes.

    The caller holds the lock. If there is no room for a journal, it goes on without one: deleting
    makes room.
    """
    services = machine.services
    every = [state for kept in doomed for state in gc.with_snapshots(services, kept)]
    volumes = {path for kept in every for path in saved_states.layers_under(services, kept.disks)}
    facts = {
        "command": run.command,
        "kept": [kept.id for kept in every],
        "labels": [kept.label for kept in every],
        "volumes": sorted(map(str, volumes)),
    }
    with suppress(OperationError):
        services.state.open_journal(machine.name, journal.PURGE, facts)
    with transaction.ended_on_failure(machine, run):
        _delete(services, facts)
        gc.collect(machine, run)
        transaction.end(machine, run, killed=False)
    left = {volume.path for volume in services.volumes.all()}
    return sorted(path.name for path in volumes - left)


def end_purge(begun: Begun) -> Outcome:
    """Finish a purge, as part of it may be done already."""
    machine, services = begun.machine, begun.machine.services
    _delete(services, begun.journal)
    vm = machine.vm()
    if vm is not None:
        gc.delete_stale_layers(services, vm)
        repair.write_files(machine)  # a killed merge leaves no definition
    if begun.killed:  # don't make the person who interrupted it wait for a merge
        gc.collect(machine, begun.run)
    return "finished"


def _delete(services: Services, facts: Mapping[str, Any]) -> None:
    for identifier in facts["kept"]:
        if kept := saved_states.find(services, identifier):
            gc.purge(services, kept)
    saved_states.release(services, map(Path, facts["volumes"]))


def _unfinished(services: Services) -> dict[str, transaction.Journal]:
    """The journals of killed commands that were deleting saved states, by VM name."""
    journals = {name: services.state.journal(name) for name in services.state.names()}
    return {
        n: begun for n, begun in journals.items() if begun and begun["operation"] == journal.PURGE
    }


def _choose(machine: Machine, identifier: str | None, vm: Vm | None, run: Run) -> SavedState | None:
    """The state to restore; None if it was enough to redefine the domain."""
    states = items(machine.services, machine.name)
    if identifier is not None:
        found = next((kept for kept in states if kept.id == identifier), None)
        if found is None:
            raise NotFoundError(
                f"there is no saved state {identifier} of {machine} in the trash",
                resolution=f"devvm trash show {machine}" if states else "devvm trash list",
            )
        _refuse_if_not_whole(found)
        return found
    if vm is not None:
        raise ExistsError(
            f"{machine} exists",
            details="to replace it with an earlier state, name that state"
            if states
            else "and nothing of it is in the trash",
            resolution=f"devvm trash show {machine}, then: devvm recover {machine} --item ID"
            if states
            else f"devvm ssh {machine}",
        )
    if repair.redefine(machine) is not None:
        run.note(f"The domain of {machine} had been deleted; it is defined again, on its own disks")
        return None
    whole = [kept for kept in states if kept.whole]
    if not whole:
        for kept in states:
            _refuse_if_not_whole(kept)
        lifecycle.get(machine)
        raise NotFoundError(
            f"there is nothing of {machine} in the trash", resolution="devvm trash list"
        )
    return next((kept for kept in reversed(whole) if kept.destroyed), whole[-1])


def _refuse_if_not_whole(kept: SavedState) -> None:
    if not kept.whole:
        raise UsageError(
            f"only disks of {kept.vm.name} are left: what kind of VM it was is unknown",
            details=", ".join(str(disk.path) for disk in kept.disks),
            resolution="its data disk holds the files under state/; "
            "qemu-nbd or guestmount opens it",
        )


def _bring_back(machine: Machine, kept: SavedState, run: Run) -> Recovered:
    services, fqdn = machine.services, machine.fqdn
    token = naming.new_token()
    if services.domains.uuid(fqdn) is not None:
        raise ExistsError(
            f"there is a libvirt domain {fqdn} that devvm did not make",
            resolution=f"look at it: virsh dominfo {fqdn}; rename or remove it, then: "
            f"devvm recover {machine}",
        )
    with transaction.begin(machine, journal.RECOVER, run, token=token, kept=kept.id):
        with run.phase("disks", f"Taking {machine} out of the trash"):
            disks = restore.writable(services, kept, fqdn, token)
            lease = machine.reserve_lease(kept.mac)
            public_key = ssh.new_key(machine)
            change = DomainChange(
                name=fqdn,
                uuid=kept.uuid or str(uuid.uuid4()),
                title=f"devvm {machine}",
                mac=lease.mac,
                disks=disks,
                facts=kept.vm,
                oem_string=ssh.oem_string(public_key),
            )
            saved_states.define_from(services, kept, change)
            repair.write_files(machine)
            saved_states.delete(services, kept)
        return _checked(machine, run)


def end_recover(begun: Begun) -> Outcome:
    """Undo a recover, unless the state has left the trash, which is the last step."""
    machine, services = begun.machine, begun.machine.services
    kept = saved_states.find(services, begun.journal["kept"])
    if kept is None:
        return "finished"
    vm = machine.vm()
    if vm is not None and vm.uuid == kept.uuid:
        provision.power_off(services, vm, timeout=0)
        services.domains.undefine(vm.fqdn)
    saved_states.delete_created_by(machine, begun.token)
    machine.release_lease()
    services.state.forget(machine.name)
    return "undone"


def _checked(machine: Machine, run: Run) -> Recovered:
    """Start a VM that was recovered, authorize its new key, and check it."""
    services = machine.services
    vm = machine.require()
    if ssh.missing_files(machine, vm.fqdn):
        repair.restore_ssh(services, vm, run)
    target = lifecycle.power_on(machine, run)
    repair.authorize_engineer(machine, target, vm.known)
    with ssh.opening(machine):
        report = examine(machine, release=vm.known.release, run=run)
    return Recovered(vm=machine.require(), report=report)
