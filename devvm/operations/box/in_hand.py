"""Which box is that of the stack in hand."""

from __future__ import annotations

from devvm.domain.box import Box
from devvm.domain.release import identity
from devvm.operations.core import working_tree
from devvm.ports.services import Services


def find(services: Services, *, newest: bool = False) -> Box | None:
    """The box of the stack in hand; None where it has to be built.

    Where `packages.lock` fixes the packages, it is the box with exactly those. Otherwise it is the
    newest box of this stack: what the mirror has by now does not count.

    Args:
        services: The host.
        newest: Whether to go on as if there were no `packages.lock`.

    Raises:
        UsageError: the lock can't be read.
    """
    stack = working_tree.look()
    if stack.hash is not None and not newest:
        return services.boxes.find(identity.new_release(stack.hash))
    return next((box for box in services.boxes.list() if box.content == stack.content), None)
