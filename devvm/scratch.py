"""Private folders for the moment; those of a process that was killed are removed by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds that a folder has to be old to be taken for a dead process's: its owner locks it just
#: after making it.
_YOUNG = 60


@contextmanager
def folder(kind: str) -> Iterator[Path]:
    """A folder that only this user can enter, removed at the end.

    Its owner holds a lock on it, which the kernel drops however the owner ends.
    """
    prefix = f"devvm-{kind}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=prefix) as made:
        descriptor = os.open(made, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(made)
        finally:
            os.close(descriptor)


def _remove_if_left(path: Path) -> None:
    found = path.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or time.time() - found.st_mtime < _YOUNG:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner lives
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
