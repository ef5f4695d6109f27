"""Removes folders, after detaching everything that is mounted in them.

A killed build of an older devvm left file systems mounted in its folder, and people may mount
something there too. Deleting through a mount would delete files that are elsewhere.
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
#: Seconds that killed processes have to end; until then they may still create files.
_PATIENCE = 10.0

# From linux/mount.h and linux/fs.h.
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8


def remove(path: Path) -> None:
    """Delete a folder and its content, if it exists.

    Mounts at or below it are detached first; what is mounted there is not touched.

    Raises:
        OperationError: a mount can't be detached.
        OSError: the folder can't be deleted.
    """
    deadline = time.monotonic() + _PATIENCE
    while os.path.lexists(path):
        _detach_below(path)
        try:
            shutil.rmtree(path)
        except OSError as error:
            # These mean that another process is creating, deleting or mounting something there.
            passing = error.errno in {errno.ENOTEMPTY, errno.ENOENT, errno.EBUSY}
            if not passing or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def mounted_below(path: Path) -> list[Path]:
    """The mount points at or below a path, in the order in which they were mounted."""
    top = path.parent.resolve() / path.name  # not resolved itself: a link may lead elsewhere
    lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    points = (Path(_unescaped(line.split(" ")[4])) for line in lines)
    return [point for point in points if point.is_relative_to(top)]


def _unescaped(field: str) -> str:
    """Decode a path in mountinfo: space, tab, newline and backslash are octal escapes."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)


def _detach_below(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    while points := mounted_below(path):
        # Made private first, or else detaching /dev/pts in a shared copy of /dev would also detach
        # the host's own. A mount that another one hides is made private once that one is gone.
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
