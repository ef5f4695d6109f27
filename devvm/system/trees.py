"""Removes folders, having made sure that nothing is mounted in them.

A build of an older devvm, killed, left file systems mounted where it worked; also a person may have
mounted something there. Whoever walks into such a mount deletes what is elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shlex
import shutil
import time
from pathlib import Path

from devvm.domain.errors import OperationError

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
#: Seconds that processes which were killed get to end: until then they may still make files.
_PATIENCE = 10.0

# From linux/mount.h and linux/fs.h.
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8


def remove(path: Path) -> None:
    """Delete a folder and what is in it; nothing where there is none.

    What is mounted at or below it is detached before, and its content is not touched.

    Raises:
        OperationError: something is mounted there and can't be detached.
        OSError: it can't be deleted.
    """
    deadline = time.monotonic() + _PATIENCE
    while os.path.lexists(path):
        _detach_below(path)
        try:
            shutil.rmtree(path)
        except OSError as error:
            # Somebody makes, deletes or mounts something there at this moment.
            passing = error.errno in {errno.ENOTEMPTY, errno.ENOENT, errno.EBUSY}
            if not passing or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def mounted_below(path: Path) -> list[Path]:
    """Where something is mounted, at or below a path: in the order in which it was mounted."""
    top = path.parent.resolve() / path.name  # a link by this name leads elsewhere
    lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    points = (Path(_unescaped(line.split(" ")[4])) for line in lines)
    return [point for point in points if point.is_relative_to(top)]


def _unescaped(field: str) -> str:
    """A path as the kernel writes it: space, tab, newline and backslash are octal."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)


def _detach_below(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    while points := mounted_below(path):
        # First, or to detach /dev/pts of a copy of /dev would detach the host's own, where the two
        # are shared. One that is hidden under another mount gets its turn when that one is gone.
        for point in points:
            libc.mount(None, os.fsencode(point), None, ctypes.c_ulong(_MS_PRIVATE), None)
        last = points[-1]
        failed = libc.umount2(os.fsencode(last), _MNT_DETACH | _UMOUNT_NOFOLLOW)
        if failed and last in mounted_below(path):
            raise _stays(path, last, os.strerror(ctypes.get_errno()))


def _stays(path: Path, point: Path, reason: str) -> OperationError:
    return OperationError(
        f"{path} can't be removed: something is mounted in it",
        details=f"{point}: {reason}",
        resolution=f"sudo umount --lazy {shlex.quote(str(point))}; then the same command again",
    )
