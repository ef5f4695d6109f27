"""Plan a rollout: when and how each VM is updated, and what its owner will notice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from devvm.domain.errors import NotFoundError, UsageError
from devvm.domain.release.stack import Release, same_stack
from devvm.domain.release.strategy import Kind, Strategy
from devvm.domain.rollout import plan as plans
from devvm.domain.rollout.plan import Plan, Terms
from devvm.domain.vm import Vm, VmState
from devvm.operations.core import own_stack
from devvm.operations.rollout import pins
from devvm.operations.update import strategy
from devvm.ports.services import Services


class Wait(StrEnum):
    """Why a VM can't be updated when its turn comes."""

    PINNED = "pinned"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A VM in a plan.

    Attributes:
        name: Its name.
        engineer: Login of its engineer.
        release: Its release now.
        wave: The name of its wave.
        strategy: How to update it, judging by the releases; its own state may require a rebuild.
        notice: What its owner will notice.
        waits: Why it can't be updated in its turn; None if it can.
        why: The same, for people.
    """

    name: str
    engineer: str
    release: str
    wave: str
    strategy: Strategy
    notice: str
    waits: Wait | None = None
    why: str = ""


def make(
    services: Services, terms: Terms, *, by: str, today: date
) -> tuple[Plan, tuple[Planned, ...]]:
    """Plan the update of the VMs that are not on the release yet. Records nothing.

    Args:
        services: The adapters to use.
        terms: What was asked for.
        by: Login of the person who plans it.
        today: Today's date, for pins.

    Raises:
        NotFoundError: the release is not on record or has no box, or a named VM doesn't exist.
        UsageError: the release is retired, a named VM has another stack, or every VM is on it.
    """
    release = strategy.in_use(services, terms.release)
    vms = _candidates(services, terms, release)
    first = services.config.rollout.canaries
    pinned = {vm.name: pins.pinned(vm.metadata, today) for vm in vms}

    def rank(vm: Vm) -> tuple[bool, int, str]:
        """VMs that can be updated now first, and among them the configured canaries."""
        ready = vm.state is VmState.RUNNING and not pinned[vm.name]
        return not ready, first.index(vm.name) if vm.name in first else len(first), vm.name

    vms.sort(key=rank)
    waves = plans.waves([vm.name for vm in vms], terms.canary, terms.waves)
    plan = Plan(by=by, terms=terms, waves=waves, changes=release.changes)
    of_wave = {name: wave.name for wave in waves for name in wave.vms}
    chosen = _strategies(services, vms, release, terms)
    planned = (
        _planned(vm, of_wave[vm.name], chosen[vm.name], pinned[vm.name])
        for vm in vms
        if vm.name in of_wave
    )
    return plan, tuple(planned)


def _candidates(services: Services, terms: Terms, release: Release) -> list[Vm]:
    known = {vm.name: vm for vm in services.domains.vms() if vm.metadata and vm.metadata.ready}
    if strangers := [name for name in terms.only if name not in known]:
        raise NotFoundError(
            f"there is no VM {strangers[0]}, or it is not finished", resolution="devvm list"
        )
    for name in terms.only:
        own_stack.refuse_another(known[name], release.release, release.stack)
    wanted = terms.only or tuple(
        name for name, vm in sorted(known.items()) if same_stack(vm.known.stack, release.stack)
    )
    found = [known[name] for name in wanted if not strategy.is_on(known[name], release.release)]
    if not found:
        raise UsageError(
            f"every VM is already on {release.release}"
            if wanted
            else f"there are no VMs of the stack {release.stack}",
            resolution="devvm list",
        )
    return found


def _strategies(
    services: Services, vms: list[Vm], release: Release, terms: Terms
) -> dict[str, Strategy]:
    """The strategy for each VM, by name; VMs on the same release have the same."""
    if terms.rebuild:
        return {vm.name: Strategy.rebuild("requested") for vm in vms}
    by_release: dict[str, Strategy] = {}
    for vm in vms:
        has = vm.metadata.release if vm.metadata else ""
        if has not in by_release:
            by_release[has] = strategy.by_release(services, vm, release)
    return {vm.name: by_release[vm.metadata.release if vm.metadata else ""] for vm in vms}


def _planned(vm: Vm, wave: str, chosen: Strategy, pin: str | None) -> Planned:
    waits, why = None, ""
    if pin:
        waits, why = Wait.PINNED, pin
    elif vm.state is not VmState.RUNNING:
        waits, why = Wait.OFF, "not running: updated at its next start"
    return Planned(
        name=vm.name,
        engineer=vm.known.engineer,
        release=vm.known.release,
        wave=wave,
        strategy=chosen,
        notice="nothing" if pin else notice(chosen),
        waits=waits,
        why=why,
    )


def notice(chosen: Strategy) -> str:
    """What the owner of a VM will notice of its update, in full sentences."""
    if chosen.kind is Kind.REBUILD:
        return (
            "The VM restarts on a new system. Homes, checkouts and databases are on its data disk "
            "and stay; the rest goes to the trash."
        )
    whose = "all roles" if chosen.every_role else ", ".join(chosen.roles) or "changed packages"
    what = f"Services of {whose} may restart"
    return f"{what}; the VM itself restarts only if it has to be rebuilt."
