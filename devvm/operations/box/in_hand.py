"""Find the box of the working tree."""

from __future__ import annotations

from devvm.domain.box import Box
from devvm.domain.release import identity
from devvm.ports.services import Services


def find(services: Services, *, newest: bool = False) -> Box | None:
    """The box of the working tree; None if it has to be built.

    If there is a `packages.lock`, it is the box with exactly these packages. Otherwise it is the
    newest box of this stack, whatever the mirror has by now.

    Args:
        services: The adapters to use.
        newest: Whether to ignore `packages.lock`.

    Raises:
        UsageError: `packages.lock` can't be read.
    """
    stack = services.stack.look()
    if stack.hash is not None and not newest:
        return services.boxes.find(identity.new_release(stack.hash))
    return next((box for box in services.boxes.list() if box.content == stack.content), None)
