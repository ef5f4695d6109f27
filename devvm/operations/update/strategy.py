"""Choose how to update a VM: judging by the releases, and by the VM itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from devvm.domain.errors import NotFoundError, UsageError
from devvm.domain.release import applied_roles, stack
from devvm.domain.release.identity import same_release
from devvm.domain.release.stack import Release
from devvm.domain.release.strategy import Kind, Strategy, choose
from devvm.domain.vm import Vm
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.verify.verify import examine
from devvm.operations.vm import requirements
from devvm.ports.services import Services

#: Run in the guest with the mirror's URL; fails if the guest can't reach it.
_REACH = """import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/dists/", timeout=10).close()
"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A strategy that was chosen for a VM, perhaps minutes ago.

    Attributes:
        strategy: The strategy.
        vm: The VM as it was before it was examined.
    """

    strategy: Strategy
    vm: Vm

    def holds_for(self, vm: Vm) -> bool:
        """Whether the VM is still the one that the strategy was chosen for."""
        return _grounds(self.vm) == _grounds(vm)


def is_on(vm: Vm, release: str) -> bool:
    """Whether a VM is on a release, as far as devvm knows."""
    return vm.metadata is not None and same_release(vm.metadata.release, release)


def began(vm: Vm, release: Release) -> bool:
    """Whether an update of the VM to the release, in place, has begun and not ended."""
    facts = vm.metadata
    return facts is not None and facts.update_to == release.release and bool(facts.restore_point)


def of_release(services: Services, release: str) -> Services:
    """The services, with the roles, playbooks and production of a recorded release.

    Raises:
        NotFoundError: the release is not on record.
    """
    provisioner, verifier = services.stacks.provisioner(release), services.stacks.verifier(release)
    return replace(services, provisioner=provisioner, verifier=verifier)


def on_record(services: Services, release: str) -> Release:
    """The recorded release of this name, which must have a box.

    Raises:
        NotFoundError: the release is not on record, or has no box here.
    """
    found = services.releases.find(release)
    if found is None:
        raise NotFoundError(
            f"the release {release} is not on record on this host",
            resolution="devvm release list, or: devvm release create",
        )
    requirements.require_box(services, found.release)
    return found


def in_use(services: Services, release: str) -> Release:
    """The recorded release of this name, which must not be retired.

    Raises:
        NotFoundError: the release is not on record, or has no box here.
        UsageError: it is retired.
    """
    found = on_record(services, release)
    if found.retired_at:
        raise UsageError(
            f"the release {found.release} is retired",
            details=f"since {found.retired_at}",
            resolution="devvm release list",
        )
    return found


def by_release(services: Services, vm: Vm, release: Release) -> Strategy:
    """The strategy to update a VM, judging only by the two releases."""
    has = vm.metadata.release if vm.metadata else ""
    old = services.releases.find(has)
    if old is None:
        return Strategy.rebuild(f"there is no record of what changed since {has or 'its release'}")
    before, after = services.releases.stack(old.release), services.releases.stack(release.release)
    return choose(stack.difference(before, after), applied_roles.of(after.playbooks))


def for_vm(services: Services, vm: Vm, release: Release, run: Run) -> Strategy:
    """The strategy to update a VM: like `by_release`, but logs in to see if the VM allows it."""
    chosen = by_release(services, vm, release)
    if chosen.kind is Kind.REBUILD or began(vm, release):
        return chosen
    target = ssh.target(Machine(services, vm.name), login="vagrant")
    mirror = services.config.box.mirror[0]
    if chosen.packages:
        run.detail("checking whether packages are available")
        code, _, _ = services.shell.run(
            target, ["python3", "-", mirror], stdin=_REACH, check=False, timeout=60
        )
        if code:
            return Strategy.rebuild("packages change, but the VM can't reach their mirror")
    has = vm.known.release
    its_own = of_release(services, has)
    failures = list(examine(Machine(its_own, vm.name), release=has, run=run).failures())
    if failures:
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        return Strategy.rebuild(f"it differs from its own release: {failures[0].name}{others}")
    return chosen


def _grounds(vm: Vm) -> tuple[object, ...]:
    """What a choice depends on and others can change; a pin, for one, doesn't matter."""
    facts = vm.metadata
    noted = facts and (facts.release, facts.generation, facts.restore_point)
    return vm.uuid, vm.disks, noted
