"""`clone`: create a VM with the disks of another, and an identity of its own."""

from __future__ import annotations

import base64
import io
import tarfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from devvm.domain.check import Report
from devvm.domain.errors import UsageError
from devvm.domain.name import validate_new_name
from devvm.domain.saved_state import DomainChange, SavedState
from devvm.domain.vm import Metadata, Target, Vm
from devvm.operations.core import journal, naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.verify.verify import examine
from devvm.operations.vm import create, lifecycle, requirements, snapshots
from devvm.ports.services import Services

#: Run as root in the guest: replaces its identity with the one in the script.
_TAKE_IDENTITY = """set -eu
umask 077
rm -rf /data/identity.new
mkdir /data/identity.new
base64 -d <<'END' | tar -x -C /data/identity.new
@IDENTITY@
END
chown -R 0:0 /data/identity.new
rm -rf /data/identity.old
mv /data/identity /data/identity.old
mv /data/identity.new /data/identity
rm -rf /data/identity.old
: >/etc/machine-id
sync
"""


@dataclass(frozen=True, kw_only=True)
class Cloned:
    """The new VM, and the result of its checks."""

    vm: Vm
    report: Report
    url: str


def clone(
    services: Services, source: str, name: str, run: Run, *, snapshot: str | None = None
) -> Cloned:
    """Create a VM with the disks of another, as they are now or as in a snapshot.

    The source keeps running. The clone has its own host keys, certificate, name and address; the
    engineer, accounts and data are the source's.

    Raises:
        UsageError: the name is invalid.
        ExistsError: there is a VM with the new name.
        NotFoundError: there is no such VM or snapshot.
        HostNotReadyError: the host lacks memory or libvirt.
        LockedError: another command is changing one of the VMs.
        OperationError: a step failed; there is no new VM, and the source is as it was.
    """
    machine, first = Machine(services, validate_new_name(name)), Machine(services, source)
    if name == source:
        raise UsageError(
            f"{name} can't be a clone of itself", resolution=f"devvm clone {source} --as {name}-2"
        )
    with ExitStack() as locks:
        # in a fixed order, so that two clones in opposite directions can't block each other
        outcomes = {
            one.name: locks.enter_context(transaction.changing(one, run))
            for one in sorted((first, machine), key=str)
        }
        before = outcomes[name]
        same = before and before.journal.get("source") == source
        if not (before and same and before.done(journal.CLONE)):
            requirements.refuse_if_exists(machine)
            requirements.require_memory(services, lifecycle.present(first).memory_mib)
            requirements.require_space(services, None)
            with provision.recorded(machine, run):
                _make(machine, first, snapshot, run)
        found = machine.require()
        with ssh.opening(machine):
            report = examine(machine, release=found.known.release, run=run)
    return Cloned(vm=found, report=report, url=machine.url)


def _make(machine: Machine, source: Machine, snapshot: str | None, run: Run) -> None:
    services = machine.services
    kept = snapshots.find(source, snapshot) if snapshot else None
    identifier, token = str(uuid.uuid4()), naming.new_token()
    temporary = kept is None
    with transaction.begin(
        machine, journal.CLONE, run,
        uuid=identifier, token=token, source=source.name,
        kept=kept.id if kept else token, temporary=temporary,
    ):  # fmt: skip
        if kept is None:
            with run.phase("snapshot", f"Saving the disks of {source}"):
                kept = snapshots.take(source, f"for-{machine}", run, token=token, temporary=True)
        facts = _define(machine, kept, identifier, token, run)
        target = lifecycle.power_on(machine, run)
        facts = _renew_identity(machine, target, facts, run)
        services.domains.set_metadata(identifier, replace(facts, ready=True))
        repair.authorize_engineer(machine, target, replace(facts, ready=True))
        repair.write_files(machine)
        if temporary:
            saved_states.delete(services, kept)


def end(begun: Begun) -> Outcome:
    """End a clone like a create; delete the source's saved state if it was made for the clone."""
    outcome = create.end(begun)
    if begun.journal["temporary"]:
        services = begun.machine.services
        kept = saved_states.find(services, begun.journal["kept"])
        if kept is not None:
            saved_states.delete(services, kept)
    return outcome


def _define(machine: Machine, kept: SavedState, identifier: str, token: str, run: Run) -> Metadata:
    services = machine.services
    with run.phase("disks", "Creating the disks"):
        lease = machine.reserve_lease()
        facts = replace(
            kept.vm,
            name=machine.name,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            ready=False,
            generation=1,
            pinned_until="",  # the source's pin and updates are not the clone's
            pinned_by="",
            pin_reason="",
            update_to="",
            update_by="",
            restore_point="",
        )
        public_key = ssh.new_key(machine)
        change = DomainChange(
            name=machine.fqdn,
            uuid=identifier,
            title=f"devvm {machine}",
            mac=lease.mac,
            disks=saved_states.put_layers(services, machine.fqdn, kept.disks, token),
            facts=facts,
            oem_string=ssh.oem_string(public_key),
        )
        saved_states.define_from(services, kept, change)
        repair.write_files(machine)  # with the source's host key, which it still has
    return facts


def _renew_identity(machine: Machine, target: Target, facts: Metadata, run: Run) -> Metadata:
    """Give the clone its own keys, and restart it to use them."""
    services = machine.services
    with run.phase("identity", "Giving it its own identity"):
        identity = provision.new_identity(services, machine.fqdn)
        packed = base64.encodebytes(_packed(identity)).decode().strip()
        script = _TAKE_IDENTITY.replace("@IDENTITY@", packed)
        services.shell.run(target, ["sudo", "sh", "-s"], stdin=script)
        found = machine.require()
        provision.power_off(services, found, timeout=transaction.STOP_TIMEOUT)
        facts = provision.known_by(services, facts, identity)
        services.domains.set_metadata(found.uuid, facts)
        repair.write_files(machine)
    lifecycle.power_on(machine, run)
    return facts


def _packed(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
