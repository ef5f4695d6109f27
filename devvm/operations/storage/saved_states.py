"""Layers and saved states: how a VM's past is set aside and brought back without copying it.

A disk is a chain of volumes, each a layer on the one below. A state of a VM is kept by putting new
layers on its disks and noting the volumes below in a domain that never runs. libvirt knows then
which volume is needed by what; one that no domain needs is garbage.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.saved_state import DESTROYED, DomainChange, Purpose, SavedState
from devvm.domain.vm import Metadata, Vm
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.ports.services import Services


def put_layers(
    services: Services, fqdn: str, disks: Iterable[DomainDisk], token: str
) -> dict[str, Path]:
    """Make a new layer on each of some disks; their paths, by role. Nothing uses them yet."""
    return {
        disk.role: services.volumes.layer(naming.volume_of(fqdn, disk.role, token), disk.path)
        for disk in disks
    }


def put_root(
    services: Services, fqdn: str, image: Path, token: str, old_root: Path | None
) -> dict[str, Path]:
    """Make a new root on a box's image, as large as the old root was; nothing uses it yet."""
    sizes = {volume.path: volume.size_bytes for volume in services.volumes.all()}
    size = max(sizes.get(image, 0), sizes.get(old_root, 0) if old_root else 0)
    name = naming.volume_of(fqdn, ROOT, token)
    return {ROOT: services.volumes.layer(name, image, size or None)}


def keep(
    services: Services,
    vm: Vm,
    *,
    token: str,
    purpose: Purpose,
    label: str,
    disks: Mapping[str, Path] | None = None,
    consistency: str = "off",
) -> SavedState:
    """Keep the state of a VM that its volumes hold now, or that `disks` hold.

    The same again when called again with the same token. Nothing may write to these volumes any
    more, but for a VM that is about to be given others.
    """
    found = find(services, token, of=vm.fqdn)
    if found is not None:
        return found
    kept = SavedState(
        id=token,
        purpose=purpose,
        label=label,
        kept_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        expires_at=expiry(services) if purpose is Purpose.TRASH else None,
        uuid=vm.uuid,
        mac=vm.mac,
        consistency=consistency,
        vm=vm.known,
    )
    change = DomainChange(
        name=naming.kept_of(vm.fqdn, token),
        uuid=str(uuid.uuid4()),
        title=title_of(kept),
        disks=disks or {},
        facts=kept,
        read_only=True,
    )
    services.domains.define(services.domains.definition(vm.fqdn), change)
    found = find(services, token, of=vm.fqdn)
    assert found is not None
    return found


def define_from(services: Services, kept: SavedState, change: DomainChange) -> None:
    """Define a VM from a saved state.

    `change` has to name a volume for each disk: one that it left out would be the kept one, which
    nothing may write to as long as it is kept.
    """
    assert {disk.role for disk in kept.disks} == set(change.disks), change.disks
    source = services.domains.definition(domain_of(services, kept))
    services.domains.define(source, change)


def keep_volumes(
    services: Services, metadata: Metadata, volumes: tuple[DomainDisk, ...], token: str
) -> None:
    """Put volumes of a VM whose domain is lost into the trash.

    Where another state of that VM is kept, which says what kind of VM it was, as a whole VM;
    otherwise as disks only.
    """
    if find(services, token) is not None:
        return
    fqdn, like = naming.fqdn_of(services.config, metadata.name), _alike(services, metadata, volumes)
    kept = SavedState(
        id=token,
        purpose=Purpose.TRASH,
        label=DESTROYED if like else "disks without a VM",
        kept_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        expires_at=expiry(services),
        uuid=like.uuid if like else "",
        mac=like.mac if like else "",
        consistency="crash",
        vm=like.vm if like else metadata,
        whole=like is not None,
    )
    domain, identifier = naming.kept_of(fqdn, token), str(uuid.uuid4())
    if like is None:
        services.domains.define_bare(domain, identifier, volumes, kept)
        return
    change = DomainChange(
        name=domain,
        uuid=identifier,
        title=title_of(kept),
        disks={disk.role: disk.path for disk in volumes},
        facts=kept,
        read_only=True,
    )
    services.domains.define(services.domains.definition(domain_of(services, like)), change)


def _alike(
    services: Services, metadata: Metadata, volumes: tuple[DomainDisk, ...]
) -> SavedState | None:
    """The newest whole state of the VM that some volumes are of: they lie on its data.

    A VM that had the name before is another one.
    """
    if services.domains.vm(metadata.name) is not None:
        return None
    roles, below = sorted(disk.role for disk in volumes), layers_under(services, volumes)
    found = [
        kept
        for kept in services.domains.saved_states()
        if kept.vm.name == metadata.name
        and kept.whole
        and sorted(disk.role for disk in kept.disks) == roles
        and any(disk.role == DATA and disk.path in below for disk in kept.disks)
    ]
    return found[-1] if found else None


def change_kept(services: Services, kept: SavedState) -> None:
    """Write a saved state's facts again: it is kept for something else now."""
    name = domain_of(services, kept)
    change = DomainChange(title=title_of(kept), facts=kept, read_only=True)
    services.domains.define(services.domains.definition(name), change)


def to_trash(services: Services, kept: SavedState, label: str) -> None:
    """Move a saved state to the trash."""
    change_kept(
        services,
        replace(kept, purpose=Purpose.TRASH, label=label, expires_at=expiry(services)),
    )


def forget_kept(services: Services, kept: SavedState) -> None:
    """Keep a state no longer; its volumes stay."""
    services.domains.undefine(domain_of(services, kept))


def find(services: Services, identifier: str, *, of: str | None = None) -> SavedState | None:
    """A saved state by its identifier; without a look at all others where the VM's name is given.

    Args:
        services: Where.
        identifier: It.
        of: The full name of the VM that it is of.
    """
    if of is not None:
        return services.domains.saved_state(naming.kept_of(of, identifier))
    return next((k for k in services.domains.saved_states() if k.id == identifier), None)


def of_vm(machine: Machine, purpose: Purpose) -> list[SavedState]:
    """What is kept of a VM for some purpose, the oldest first."""
    return [
        k
        for k in machine.services.domains.saved_states()
        if k.vm.name == machine.name and k.purpose is purpose
    ]


def domain_of(services: Services, kept: SavedState) -> str:
    """The name of the domain that a saved state is."""
    return naming.kept_of(naming.fqdn_of(services.config, kept.vm.name), kept.id)


def layers_under(services: Services, disks: Iterable[DomainDisk]) -> set[Path]:
    """The volumes of some disks, and all that these lie on."""
    below = {volume.path: volume.below for volume in services.volumes.all()}
    found: set[Path] = set()
    for disk in disks:
        path: Path | None = disk.path
        while path is not None and path not in found:
            found.add(path)
            path = below.get(path)
    return found


def release(services: Services, paths: Iterable[Path]) -> list[str]:
    """Delete those of some volumes that no domain needs; their names."""
    candidates = set(paths)
    removed = []
    for volume in services.volumes.unused():
        if volume.path in candidates:
            services.volumes.remove(volume.name)
            removed.append(volume.name)
    return removed


def release_made_by(machine: Machine, token: str) -> list[str]:
    """Delete the volumes that an operation made for a VM, where no domain needs them."""
    begin = f"{machine.fqdn}-"
    return release(
        machine.services,
        (
            volume.path
            for volume in machine.services.volumes.unused()
            if volume.name.startswith(begin) and f".{token}." in volume.name
        ),
    )


def lost_volumes(machine: Machine) -> list[DomainDisk]:
    """The disks of a VM, as far as volumes are there that no domain needs: the newest layers.

    Raises:
        OperationError: libvirt does not answer.
    """
    fqdn = machine.fqdn
    unused = [
        volume
        for volume in machine.services.volumes.unused()
        if volume.name == naming.first_root_of(fqdn) or volume.name.startswith(f"{fqdn}-")
    ]
    covered = {volume.below for volume in machine.services.volumes.all()}
    tops = [
        (naming.role_of(fqdn, volume.name), volume.path)
        for volume in unused
        if volume.path not in covered
    ]
    devices = iter("bcdefghijklmnopqrstuvwxyz")
    return [
        DomainDisk(device=f"vd{'a' if role == ROOT else next(devices)}", role=role, path=path)
        for role, path in sorted(tops, key=lambda top: (top[0] != ROOT, top[0] != DATA, top))
    ]


def expiry(services: Services) -> str:
    """When what goes to the trash now expires; ISO 8601, UTC."""
    days = timedelta(days=services.config.trash.days)
    return (datetime.now(UTC) + days).isoformat(timespec="seconds")


def title_of(kept: SavedState) -> str:
    """A line for people who look with virsh."""
    what = {
        Purpose.SNAPSHOT: f"snapshot {kept.label}",
        Purpose.TRASH: f"in the trash: {kept.label}",
        Purpose.PREVIOUS: f"as it was before: {kept.label}",
    }[kept.purpose]
    return f"devvm {kept.vm.name}, {what}; not to be started"
