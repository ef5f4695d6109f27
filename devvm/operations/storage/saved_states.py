"""Layers and saved states: save and restore a VM's disks without copying them.

A disk is a chain of volumes, each a layer on the one below. To save a VM's state, devvm puts new
layers on its disks, and defines a domain that never runs and has the volumes below. So libvirt
knows what needs each volume; a volume that no domain needs is garbage.
"""

from __future__ import annotations

import uuid
from collections import Counter
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
    """Create a layer on each disk, which nothing uses yet; return their paths, by role."""
    return {
        disk.role: services.volumes.layer(naming.volume_of(fqdn, disk.role, token), disk.path)
        for disk in disks
    }


def put_root(
    services: Services, fqdn: str, image: Path, token: str, old_root: Path | None
) -> dict[str, Path]:
    """Create a root on a box's image, as large as the old root; nothing uses it yet."""
    size = root_bytes(services, image, old_root)
    name = naming.volume_of(fqdn, ROOT, token)
    return {ROOT: services.volumes.layer(name, image, size or None)}


def root_bytes(services: Services, image: Path, old_root: Path | None) -> int:
    """The size of a root on a box's image that takes the place of an old one."""
    sizes = {volume.path: volume.size_bytes for volume in services.volumes.all()}
    return max(sizes.get(image, 0), sizes.get(old_root, 0) if old_root else 0)


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
    """Save the state of a VM: the content of its volumes, or of `disks`.

    Calling it again with the same token changes nothing. Afterwards nothing may write to these
    volumes, except a VM that is about to be given others.
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

    `change` must name a volume for each disk. For one left out, the VM would get the volume of the
    saved state, which must not be written to.
    """
    assert {disk.role for disk in kept.disks} == set(change.disks), change.disks
    source = services.domains.definition(domain_of(services, kept))
    services.domains.define(source, change)


def keep_volumes(
    services: Services, metadata: Metadata, volumes: tuple[DomainDisk, ...], token: str
) -> None:
    """Move the volumes of a VM whose domain is lost to the trash.

    They become a whole VM if another saved state tells what kind of VM it was; otherwise, disks
    only.
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
    """The newest whole saved state with a data disk below these volumes; None if there is none.

    That proves that it is the same VM, not an earlier one of that name.
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
    """Replace a saved state's facts, for example its purpose."""
    name = domain_of(services, kept)
    change = DomainChange(title=title_of(kept), facts=kept, read_only=True)
    services.domains.define(services.domains.definition(name), change)


def to_trash(services: Services, kept: SavedState, label: str) -> None:
    """Move a saved state to the trash."""
    change_kept(
        services,
        replace(kept, purpose=Purpose.TRASH, label=label, expires_at=expiry(services)),
    )


def delete(services: Services, kept: SavedState) -> None:
    """Delete a saved state, but not its volumes."""
    services.domains.undefine(domain_of(services, kept))


def find(services: Services, identifier: str, *, of: str | None = None) -> SavedState | None:
    """A saved state by its identifier; None if there is none.

    Args:
        services: The adapters to use.
        identifier: The token that it was saved with.
        of: The full name of its VM, if known; faster, as other saved states are not read.
    """
    if of is not None:
        return services.domains.saved_state(naming.kept_of(of, identifier))
    return next((k for k in services.domains.saved_states() if k.id == identifier), None)


def of_vm(machine: Machine, purpose: Purpose) -> list[SavedState]:
    """The saved states of a VM for a purpose, oldest first."""
    return [
        k
        for k in machine.services.domains.saved_states()
        if k.vm.name == machine.name and k.purpose is purpose
    ]


def domain_of(services: Services, kept: SavedState) -> str:
    """The name of a saved state's domain."""
    return naming.kept_of(naming.fqdn_of(services.config, kept.vm.name), kept.id)


def layers_under(services: Services, disks: Iterable[DomainDisk]) -> set[Path]:
    """The volumes of these disks, and all layers below them."""
    return below(services, [disk.path for disk in disks])


def below(services: Services, tops: Iterable[Path]) -> set[Path]:
    """These volumes, and all layers below them."""
    under = {volume.path: volume.below for volume in services.volumes.all()}
    found: set[Path] = set()
    for top in tops:
        path: Path | None = top
        while path is not None and path not in found:
            found.add(path)
            path = under.get(path)
    return found


def release(services: Services, paths: Iterable[Path]) -> list[str]:
    """Delete those of the volumes that nothing needs; return their names.

    Needed are those of a domain, and those below a volume that stays: it may be all that is left of
    a VM whose domain somebody has deleted.
    """
    candidates = set(paths)
    layers = Counter(volume.below for volume in services.volumes.all())
    removed = []
    for volume in services.volumes.unused():
        if volume.path in candidates and not layers[volume.path]:
            services.volumes.remove(volume.name)
            removed.append(volume.name)
            layers[volume.below] -= 1
    return removed


def delete_created_by(machine: Machine, token: str) -> list[str]:
    """Delete the volumes that an operation created for a VM, unless a domain needs them."""
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
    """The top layers of a VM's disks, unless a domain needs them.

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
    """When a state moved to the trash now expires; ISO 8601, UTC."""
    days = timedelta(days=services.config.trash.days)
    return (datetime.now(UTC) + days).isoformat(timespec="seconds")


def title_of(kept: SavedState) -> str:
    """The title of a saved state's domain, for people who use virsh."""
    what = {
        Purpose.SNAPSHOT: f"snapshot {kept.label}",
        Purpose.TRASH: f"in the trash: {kept.label}",
        Purpose.PREVIOUS: f"as it was before: {kept.label}",
        Purpose.WARM: kept.label,
        Purpose.SPARE: kept.label,
    }[kept.purpose]
    return f"devvm {kept.vm.name}, {what}; not to be started"
