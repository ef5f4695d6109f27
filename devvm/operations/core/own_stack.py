"""The stack of a release: what a VM on it is judged by and repaired with."""

from __future__ import annotations

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
