"""Private temporary folders. Those that killed processes left are removed by the next one."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devvm.system import trees


@contextmanager
def folder(kind: str) -> Iterator[Path]:
    """A folder that only this user can enter, removed at the end.

    The owner holds a lock on it, which the kernel releases however the owner ends.
    """
    prefix = f"devvm-{kind}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_if_left(left)
    made, descriptor = _make_and_hold(prefix)
    try:
        yield made
    finally:
        trees.remove(made)
        os.close(descriptor)


def _make_and_hold(prefix: str) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix))
        with suppress(FileNotFoundError):
            descriptor = os.open(made, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if made.exists():  # before it was locked, another process may have removed it as stale
                return made, descriptor
            os.close(descriptor)


def _remove_if_left(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner is alive
        trees.remove(path)
    finally:
        os.close(descriptor)
