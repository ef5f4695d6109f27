"""What a VM that is made requires: a free name, a box, memory and disk space."""

from __future__ import annotations

from devvm.domain.box import Box
from devvm.domain.errors import ExistsError, HostNotReadyError, NotFoundError, UsageError
from devvm.domain.saved_state import Purpose
from devvm.operations.box import in_hand
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.storage import saved_states
from devvm.ports.services import Services

_GIB = 1024**3
#: Bytes that a VM needs in the pool to boot and be personalised, besides the box's image.
_HEADROOM = 2 * _GIB
#: MiB that QEMU needs besides the guest's memory.
_OVERHEAD_MIB = 128


def find_box(services: Services, release: str | None, *, newest: bool = False) -> Box | None:
    """The box that `create` uses: of `release`, or of the working tree; None if it isn't built.

    `newest` ignores `packages.lock`.
    """
    return services.boxes.find(release) if release else in_hand.find(services, newest=newest)


def require_box(services: Services, release: str | None) -> Box:
    """The box of a release, or of the working tree.

    Raises:
        NotFoundError: there is none.
    """
    box = find_box(services, release)
    if box is None:
        raise NotFoundError(
            f"there is no box of {f'the release {release}' if release else 'the working tree'}",
            resolution="devvm box build",
        )
    return box


def refuse_reserved(services: Services, name: str, *, what: str) -> None:
    """Make sure that a name is not that of an account of the stack.

    Raises:
        UsageError: it is.
    """
    if name in services.stack.description().reserved_logins:
        raise UsageError(
            f"{name!r} can't be a {what}: the name is reserved",
            details="it is an account of the stack",
            resolution="choose another",
        )


def refuse_if_exists(machine: Machine) -> None:
    """Make sure that nothing of this name exists, whoever created it.

    Raises:
        ExistsError: something does.
        UsageError: the stack has an account of this name.
    """
    services = machine.services
    refuse_reserved(services, machine.name, what="VM name")
    fqdn = machine.fqdn
    if machine.vm() is not None:
        raise ExistsError(
            f"{machine} already exists",
            resolution=f"to use it: devvm ssh {machine}; to delete it: devvm destroy {machine}",
        )
    if services.domains.uuid(fqdn) is not None:
        raise ExistsError(
            f"there is a libvirt domain {fqdn} that devvm did not make",
            details="perhaps it was created with Vagrant or virsh, or its metadata was removed",
            resolution=f"choose another name, or look at it: virsh dominfo {fqdn}",
        )
    left = saved_states.lost_volumes(machine)
    if left:
        raise ExistsError(
            f"there are disks of an earlier {machine}, whose domain is gone",
            details="devvm does not overwrite data that somebody may need: "
            + ", ".join(disk.path.name for disk in left),
            resolution=f"to get the VM back: devvm recover {machine}; to move them to the "
            f"trash: devvm destroy {machine}",
        )
    first = naming.first_root_of(fqdn)
    if services.volumes.exists(first):
        users = services.volumes.users_of(first)
        raise ExistsError(
            f"the name that Vagrant gives to the root disk of {machine} is taken",
            details=f"the volume {first} is needed by {', '.join(users)}",
            resolution=f"devvm trash empty {machine}, or choose another name",
        )


def require_memory(services: Services, memory_mib: int) -> None:
    """Make sure that the host has enough memory for another VM.

    Raises:
        HostNotReadyError: it doesn't.
    """
    wanted = memory_mib + _OVERHEAD_MIB
    total, free = services.host.memory_mib()
    if wanted > free:
        fits = max(0, free - _OVERHEAD_MIB)
        raise HostNotReadyError(
            f"not enough memory on this host for a VM of {memory_mib} MiB",
            details=f"{fits} MiB of {total} MiB can be given to a VM",
            resolution="stop a VM that you don't need (devvm stop), or ask for less: "
            "--memory, or the setting vm.memory_mib",
        )


def require_space(services: Services, box: Box | None) -> None:
    """Make sure that the pool has room for another root, and for the box's image if missing.

    Raises:
        HostNotReadyError: it doesn't.
    """
    needed = _HEADROOM
    if box and not services.volumes.exists(services.vagrant.volume_name(box)):
        needed += box.size_bytes
    free = services.volumes.free_bytes()
    if free < needed:
        trash = any(k.purpose is Purpose.TRASH for k in services.domains.saved_states())
        raise HostNotReadyError(
            f"not enough space in {services.config.pool_path} for a VM",
            details=f"{needed / _GIB:.1f} GiB needed, {free / _GIB:.1f} GiB free",
            resolution="delete what you don't need: "
            + ("devvm trash list, " if trash else "")
            + "devvm box list, devvm list",
        )
