"""A VM's stack: it is judged and repaired by that of its release, and stays with it."""

from __future__ import annotations

from devvm.domain.errors import UsageError
from devvm.domain.release.stack import same_stack
from devvm.domain.vm import Vm
from devvm.ports.services import Provisioner, Services
from devvm.stack.folder import StackFolder


def of(services: Services, release: str) -> StackFolder:
    """The stack of a release: as recorded with it, or else the one in the working tree.

    Raises:
        OperationError: a record can't be read.
    """
    return services.releases.folder(release) or services.stack


def provisioner(services: Services, release: str) -> Provisioner:
    """Ansible with the stack of a release.

    Raises:
        OperationError: a record can't be read.
    """
    if services.releases.folder(release) is None:
        return services.provisioner
    return services.stacks.provisioner(release)


def refuse_another(vm: Vm, release: str, stack: str) -> None:
    """Make sure that a release is of the VM's own stack: its data is of no use to another one.

    Args:
        vm: The VM.
        release: The release.
        stack: The name of the release's stack.

    Raises:
        UsageError: it isn't.
    """
    if not same_stack(vm.known.stack, stack):
        raise UsageError(
            f"{vm.name} is a VM of the stack {vm.known.stack}, and {release} is a release of "
            f"the stack {stack}",
            details="a VM stays with its stack, because its data is that stack's",
            resolution=f"name a release of {vm.known.stack}, or its folder: devvm --stack ...",
        )
