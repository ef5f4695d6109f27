"""Look at the pool, and fill it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from devvm.domain.box import Box
from devvm.domain.errors import DevvmError, HostNotReadyError, OperationError
from devvm.domain.name import SPARE
from devvm.domain.saved_state import Purpose, SavedState
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.pool import sizes
from devvm.operations.provision import freeze, spares, throwaway
from devvm.operations.storage import frozen
from devvm.operations.verify import gate
from devvm.operations.vm import requirements
from devvm.ports.services import Services

#: The lock of whoever fills the pool; no VM can have this name.
_FILLING = f"{SPARE}pool"
_GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Spare:
    """A spare in the pool.

    Attributes:
        kept: The saved state that it is.
        used_bytes: What it takes on the host.
        stale: Why it is of no use any more, and will be dropped; empty if it is ready.
        busy: Whether it is being made or taken, or a command that took it was killed.
    """

    kept: SavedState
    used_bytes: int
    stale: str = ""
    busy: bool = False


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The pool as it is.

    Attributes:
        wanted: How many spares there should be, by release.
        spares: The spares, oldest first.
        filling: Who is filling it, as a sentence; None if nobody is.
        failure: Why it could not be filled when that was last tried; empty if it could.
    """

    wanted: Mapping[str, int]
    spares: tuple[Spare, ...]
    filling: str | None
    failure: str

    def ready(self, release: str) -> int:
        """How many spares of a release are ready."""
        return sum(not one.busy for one in self._good(release))

    @property
    def missing(self) -> dict[str, int]:
        """How many spares are missing, by release."""
        found = {one: count - len(self._good(one)) for one, count in self.wanted.items()}
        return {release: count for release, count in found.items() if count > 0}

    @property
    def right(self) -> bool:
        """Whether there is nothing to do."""
        return not self.missing and not any(one.stale for one in self.spares)

    def _good(self, release: str) -> list[Spare]:
        return [one for one in self.spares if one.kept.vm.release == release and not one.stale]


def look(services: Services) -> Pool:
    """The pool as it is. Changes nothing.

    Raises:
        OperationError: what was asked for can't be read.
    """
    wanted = sizes.wanted(services)
    used = {volume.path: volume.used_bytes for volume in services.volumes.all()}
    found: list[Spare] = []
    left = dict(wanted)
    for kept in reversed(frozen.spares(services)):  # of too many, the newest stay
        busy = _is_busy(services, kept)
        stale = "" if busy else _stale(services, kept, wanted)
        if not stale:
            left[kept.vm.release] = left.get(kept.vm.release, 0) - 1
            if left[kept.vm.release] < 0 and not busy:
                stale = f"the pool should have {wanted[kept.vm.release]}"
        size = sum(used.get(disk.path, 0) for disk in kept.disks)
        found.append(Spare(kept=kept, used_bytes=size, stale=stale, busy=busy))
    return Pool(
        wanted=wanted,
        spares=tuple(reversed(found)),
        filling=services.state.holder(_FILLING),
        failure=sizes.read(services).failure,
    )


def fill(services: Services, run: Run) -> Pool:
    """Drop spares that are stale, and make those that are missing.

    Raises:
        LockedError: somebody else is filling it.
        HostNotReadyError: there is no room for another spare, on disk or in memory.
        ParityError: a spare failed its checks.
        OperationError: a spare could not be made.
    """
    with services.state.lock(_FILLING, run.command):
        try:
            throwaway.remove_leftovers(services, run)
            drop_stale(services, run)
            for release, count in look(services).missing.items():
                for _ in range(count):
                    if release in look(services).missing:  # as it is now: this takes a while
                        _make(services, requirements.require_box(services, release), run)
            drop_stale(services, run)
        except DevvmError as error:
            why = f"{error.brief}: {error.details}" if error.details else error.brief
            sizes.note(services, why, datetime.now(UTC).isoformat(timespec="seconds"))
            raise
        sizes.note(services, "", "")
    return look(services)


def drop_stale(services: Services, run: Run) -> int:
    """Remove the spares that are of no use any more; return how many."""
    stale = [one for one in look(services).spares if one.stale]
    dropped = 0
    for one in stale:
        with run.phase("drop", f"Removing a spare: {one.stale}"):
            dropped += spares.drop(services, one.kept, run)
    return dropped


def _is_busy(services: Services, kept: SavedState) -> bool:
    """Whether a spare is locked, or taken by a VM whose `create` has still to be ended."""
    names = [naming.name_of(services.config, user) for user in spares.taken_by(services, kept)]
    return services.state.holder(kept.vm.name) is not None or any(
        services.state.has_journal(name) for name in names if name
    )


def _stale(services: Services, kept: SavedState, wanted: Mapping[str, int]) -> str:
    if kept.vm.release not in wanted:
        return "no spares of this release are wanted"
    if damage := spares.damage(services, kept):
        return damage
    return _misfit(services, kept)


def _misfit(services: Services, kept: SavedState) -> str:
    """Why new VMs with the configured size can't be made of a spare; empty if they can."""
    config = services.config.vm
    fits = frozen.fits(
        services, driver=services.host.driver(config.driver)[0], cpus=config.cpus,
        memory_mib=config.memory_mib, root_bytes=config.root_gib * _GIB,
    )  # fmt: skip
    if kept.fits != fits:
        return f"it is for {kept.fits}; new VMs have {fits}"
    if spares.data_bytes_of(services, kept) > config.data_gib * _GIB:
        return "its data disk is larger than those of new VMs"
    return ""


def _make(services: Services, box: Box, run: Run) -> None:
    needed, free = frozen.room_needed(services), services.volumes.free_bytes()
    if free < needed:
        raise HostNotReadyError(
            "there is no room for another spare VM",
            details=f"{services.config.pool_path} should have {needed / _GIB:.0f} GiB free, and "
            f"has {free / _GIB:.1f}",
            resolution="devvm trash list, or fewer: devvm pool set 1",
        )
    requirements.require_memory(services, services.config.vm.memory_mib)
    report = throwaway.checked(
        services, box, run, prefix=SPARE, vm_config=services.config.vm,
        title="Checking the spare VM",
        then=partial(_keep, run=run),
    )  # fmt: skip
    gate.demand_passed(
        services, report, run,
        what="the spare VM", against=f"on the release {box.release}", outcome="it is not kept",
        resolution=f"devvm box verify {box.release}",
    )  # fmt: skip


def _keep(machine: Machine, run: Run) -> None:
    services = machine.services
    kept = freeze.freeze(machine, run, Purpose.SPARE)
    if misfit := _misfit(services, kept):  # otherwise another would be made, and another
        frozen.remove(services, kept)
        raise OperationError("the spare VM is not like new VMs", details=misfit)
