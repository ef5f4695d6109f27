"""The folder for the sockets of this user's shared SSH connections.

Its path is short, since a socket's path has at most 108 bytes. Nobody else can enter it: ssh would
trust a socket that somebody put there as if it were the VM.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from devvm.system import trees

#: Where the folder may be, in order of preference; `%i` is the user's ID, as in ssh_config(5). The
#: first one's parent is made at login, where systemd-logind runs.
FOLDERS = ("/run/user/%i/devvm", "/tmp/devvm-%i")  # noqa: S108 - others can't replace it


def prepare() -> Path | None:
    """Create the folder, if it doesn't exist; one that others could enter is emptied first.

    Returns:
        The folder; None if there can't be one, because somebody else's is in its place.
    """
    for pattern in FOLDERS:
        folder = Path(pattern.replace("%i", str(os.getuid())))
        with suppress(OSError):
            if _own(folder) and not _private(folder):
                trees.remove(folder)
            folder.mkdir(mode=0o700, exist_ok=True)
            if _own(folder) and _private(folder):
                return folder
    return None


def _own(folder: Path) -> bool:
    return os.path.lexists(folder) and folder.lstat().st_uid == os.getuid()


def _private(folder: Path) -> bool:
    mode = folder.lstat().st_mode
    return stat.S_ISDIR(mode) and stat.S_IMODE(mode) == stat.S_IRWXU
