"""Spares: VMs that were created and checked in advance, for somebody who creates one later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from devvm.domain.disk import DATA
from devvm.domain.errors import LockedError
from devvm.domain.saved_state import SavedState
from devvm.operations.core.progress import Run
from devvm.operations.storage import frozen, saved_states
from devvm.ports.services import Services


@contextmanager
def held(
    services: Services, release: str, run: Run, *, fits: str, data_bytes: int
) -> Iterator[SavedState | None]:
    """Hold a spare of a release, which nobody else can take meanwhile; None if there is none.

    Args:
        services: The adapters to use.
        release: The release.
        run: Whose command holds it.
        fits: Which memories the new VM can be restored from.
        data_bytes: The size of the new VM's data disk; the spare's may be smaller.
    """
    with ExitStack() as lock:
        yield next(
            (
                kept
                for kept in frozen.spares(services)
                if kept.vm.release == release
                and kept.fits == fits
                and data_bytes_of(services, kept) <= data_bytes
                and _is_held(services, kept, run, lock)
            ),
            None,
        )


def drop(services: Services, kept: SavedState, run: Run) -> bool:
    """Remove a spare, unless somebody is taking it; return whether it was removed."""
    with suppress(LockedError), services.state.lock(kept.vm.name, run.command):
        if _is_there(services, kept):
            frozen.remove(services, kept)
            return True
    return False


def damage(services: Services, kept: SavedState) -> str:
    """Why a spare can't be used, whatever is asked for; empty if it can."""
    if lost := frozen.lost(services, kept):
        return f"it has lost {', '.join(lost)}"
    if others := taken_by(services, kept):
        return f"{', '.join(others)} has its disks"
    return ""


def taken_by(services: Services, kept: SavedState) -> list[str]:
    """The domains whose disks are layers on a spare's: that of a create which was killed."""
    own = saved_states.domain_of(services, kept)
    found = {
        user
        for path in frozen.disks_of(kept).values()
        for user in services.volumes.users_of(path.name)
    }
    return sorted(found - {own})


def data_bytes_of(services: Services, kept: SavedState) -> int:
    """The size of a spare's data disk, as a guest sees it; 0 if it is lost."""
    path = frozen.path_of(kept, DATA)
    return next((one.size_bytes for one in services.volumes.all() if one.path == path), 0)


def _is_held(services: Services, kept: SavedState, run: Run, lock: ExitStack) -> bool:
    """Lock a spare; False if somebody else has it, or it was taken or damaged meanwhile."""
    with ExitStack() as trying:
        try:
            trying.enter_context(services.state.lock(kept.vm.name, run.command))
        except LockedError:
            return False
        if not _is_there(services, kept) or damage(services, kept):
            return False
        lock.push(trying.pop_all())
        return True


def _is_there(services: Services, kept: SavedState) -> bool:
    return services.domains.saved_state(saved_states.domain_of(services, kept)) is not None
