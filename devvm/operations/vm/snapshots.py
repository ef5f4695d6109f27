"""`snapshot`: save a VM's disks at one moment, under a name.

These are not libvirt's snapshots, which are inside the disks, or objects that get in the way of
later changes to the domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from devvm.domain.errors import ExistsError, NotFoundError, UsageError
from devvm.domain.saved_state import Purpose, SavedState
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import journal, naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.provision import provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.vm import lifecycle, restore, trash
from devvm.ports.services import Services

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot and the space that it takes."""

    kept: SavedState
    #: Bytes in the top layers of its disks; layers shared with others don't count.
    used_bytes: int


def create(services: Services, name: str, label: str, run: Run) -> Snapshot:
    """Save a VM's disks as they are now. A running VM keeps running.

    Raises:
        UsageError: the label is invalid.
        ExistsError: there is a snapshot of this name.
        NotFoundError: there is no such VM.
        LockedError: another command is changing the VM.
        OperationError: a step failed; nothing has changed.
    """
    machine = Machine(services, name)
    validate_label(label)
    with transaction.changing(machine, run) as before:
        done = before and before.done(journal.SNAPSHOT) and before.journal["label"] == label
        if not done:
            vm = lifecycle.present(machine)
            _refuse_if_exists(machine, vm, label)
            with (
                provision.recorded(machine, run),
                run.phase("snapshot", "Saving the disks"),
            ):
                take(machine, label, run)
        return _measured(services, find(machine, label))


def take(
    machine: Machine,
    label: str,
    run: Run,
    *,
    token: str | None = None,
    temporary: bool = False,
    purpose: Purpose = Purpose.SNAPSHOT,
) -> SavedState:
    """Save a VM's disks as they are now. The caller holds the lock.

    Args:
        machine: The VM.
        label: The snapshot's name.
        run: Reports the phases.
        token: Its identifier; by default a new one.
        temporary: Whether it is part of a larger operation, and not kept if that is undone.
        purpose: What it is saved for; a state in the trash expires.

    Raises:
        OperationError: a step failed; nothing has changed.
    """
    services, vm = machine.services, machine.require()
    token = token or naming.new_token()
    off = vm.state is VmState.SHUTOFF
    disks = {disk.role: disk.path for disk in vm.disks}
    with transaction.begin(
        machine, journal.SNAPSHOT, run,
        token=token, label=label, temporary=temporary, purpose=purpose,
        disks={role: str(path) for role, path in disks.items()},
        consistency="off" if off else "crash",
    ):  # fmt: skip
        on_top = saved_states.put_layers(services, vm.fqdn, vm.disks, token)
        if not off:
            run.detail("freezing its file systems")
        consistency = services.disks.split(vm, on_top)
        if consistency == "crash":
            run.note(
                f"The guest agent of {machine} did not answer: the snapshot is as after a "
                "power cut, and file system journals repair it when it is used"
            )
        kept = saved_states.keep(
            services,
            vm,
            token=token,
            purpose=purpose,
            label=label,
            disks=disks,
            consistency=consistency,
        )
        repair.write_files(machine)
    return kept


def end(begun: Begun) -> Outcome:
    """Save the state if the VM has its new layers, delete these otherwise."""
    services, facts = begun.machine.services, begun.journal
    vm = services.domains.vm(begun.machine.name)
    if vm is None or not transaction.made_by(vm, begun.token):
        saved_states.delete_created_by(begun.machine, begun.token)
        return "undone"
    if facts["temporary"]:  # for a clone, which is undone as well
        return "undone"
    saved_states.keep(
        services,
        vm,
        token=begun.token,
        purpose=Purpose(facts.get("purpose", Purpose.SNAPSHOT)),
        label=facts["label"],
        disks={role: Path(path) for role, path in facts["disks"].items()},
        consistency=facts["consistency"],
    )
    return "finished"


def list_snapshots(services: Services, name: str) -> list[Snapshot]:
    """A VM's snapshots, oldest first.

    Raises:
        NotFoundError: there is no such VM.
    """
    machine = Machine(services, name)
    vm = lifecycle.present(machine)
    found = saved_states.of_vm(machine, Purpose.SNAPSHOT)
    return [_measured(services, kept) for kept in found if kept.uuid == vm.uuid]


def restore_snapshot(services: Services, name: str, label: str, run: Run) -> Vm:
    """Restore a snapshot; the VM's present state goes to the trash.

    Raises:
        NotFoundError: there is no such VM or snapshot.
        LockedError: another command is changing the VM.
        OperationError: a step failed; the VM is as it was.
    """
    machine = Machine(services, name)
    with transaction.changing(machine, run, start=False) as before:
        kept = find(machine, label)
        if not (before and before.done(journal.RESTORE) and before.journal["kept"] == kept.id):
            with provision.recorded(machine, run):
                restore.exchange(machine, kept, run, before=before)
        elif before.was_running:
            lifecycle.power_on(machine, run)
        return lifecycle.present(machine)


def delete(services: Services, name: str, label: str, run: Run) -> list[str]:
    """Delete a snapshot for good; return the names of the deleted volumes.

    Raises:
        NotFoundError: there is no such VM or snapshot.
        LockedError: another command is changing the VM.
    """
    machine = Machine(services, name)
    with transaction.changing(machine, run) as before:
        try:
            kept = find(machine, label)
        except NotFoundError:
            if before and before.done(journal.PURGE) and label in before.journal["labels"]:
                return []
            raise
        with run.phase("delete", f"Deleting the snapshot {label}"):
            return trash.purge(machine, [kept], run)


def find(machine: Machine, label: str) -> SavedState:
    """The snapshot of a VM with this name.

    Raises:
        NotFoundError: there is no such VM or snapshot.
    """
    vm = lifecycle.present(machine)
    for kept in saved_states.of_vm(machine, Purpose.SNAPSHOT):
        if kept.label == label and kept.uuid == vm.uuid:
            return kept
    raise NotFoundError(
        f"{machine} has no snapshot {label}", resolution=f"devvm snapshot list {machine}"
    )


def check(services: Services, name: str, label: str) -> None:
    """Make sure that there is such a snapshot, or an unfinished operation.

    Raises:
        NotFoundError: there is neither.
    """
    if services.state.journal(name) is None:
        find(Machine(services, name), label)


def validate_label(label: str) -> str:
    """Return `label` if it can name a snapshot.

    Raises:
        UsageError: it can't.
    """
    if not _LABEL.fullmatch(label):
        shown = label if len(label) <= 60 else f"{label[:57]}..."
        raise UsageError(
            f"{shown!r} can't name a snapshot",
            details="use 1 to 40 of a-z, A-Z, 0-9, '.', '_' and '-', starting with a letter "
            "or a digit",
            resolution="choose another, for example: before-upgrade",
        )
    return label


def _refuse_if_exists(machine: Machine, vm: Vm, label: str) -> None:
    for kept in saved_states.of_vm(machine, Purpose.SNAPSHOT):
        if kept.label == label and kept.uuid == vm.uuid:
            raise ExistsError(
                f"{vm.name} already has a snapshot {label}",
                details=f"taken {kept.kept_at}",
                resolution=f"choose another name, or: devvm snapshot delete {vm.name} {label}",
            )


def _measured(services: Services, kept: SavedState) -> Snapshot:
    used = {volume.path: volume.used_bytes for volume in services.volumes.all()}
    return Snapshot(kept=kept, used_bytes=sum(used.get(disk.path, 0) for disk in kept.disks))
