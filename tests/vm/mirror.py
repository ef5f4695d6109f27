"""The tests' own mirror, from which boxes and VMs of the vm tier get their packages.

It is served at the gateway of the VMs' network, where both guests and this host reach it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devvm.adapters.role_declarations import RoleDeclarations
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.support import acme, stack_mirror
from tests.support.reference_stack import REFERENCE
from tests.support.stack_mirror import StackMirror

#: Kept between runs. config.toml has the same: a mirror's URL is part of a box.
FOLDER = Path("/var/cache/devvm-test")
ADDRESS, PORT = "192.168.218.1", 42180


@contextmanager
def served() -> Iterator[StackMirror]:
    """Serve it until the block ends."""
    stacks = (REFERENCE, StackFolder(acme.ACME, overlay=assets.overlay()))
    packages = {name for stack in stacks for name in RoleDeclarations.of(stack).packages()}
    made = stack_mirror.ensure(FOLDER, sorted(packages))
    here = os.environ.get("no_proxy", "")
    os.environ["no_proxy"] = ",".join(filter(None, (here, ADDRESS)))  # for every devvm of the tests
    with made.mirror.served(ADDRESS, PORT):
        yield made
