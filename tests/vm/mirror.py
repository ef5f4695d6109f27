"""Where the boxes of the vm tier have their packages from: the tests' own mirror, on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devvm import assets
from devvm.adapters.role_declarations import RoleDeclarations
from tests.support import stack_mirror
from tests.support.stack_mirror import StackMirror

#: Kept from run to run. Both are config.toml's, too: what a mirror is called is part of a box.
FOLDER = Path("/var/cache/devvm-test")
PORT = 42180


@contextmanager
def served() -> Iterator[StackMirror]:
    """Have it up until the block ends."""
    made = stack_mirror.ensure(FOLDER, RoleDeclarations(assets.roles()).packages())
    with made.mirror.served(port=PORT):
        yield made
