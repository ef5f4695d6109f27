"""A person's dotfiles: a folder whose files belong in their home directory in every VM."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from devvm.domain.errors import UsageError
from devvm.domain.vm import HomeFile

#: Bytes and files; a VM gets them with the person's keys, when it is made.
_BYTES = 256 * 1024
_FILES = 200
#: devvm writes it: only the person's keys may log in.
_NOT_THEIRS = ".ssh/authorized_keys"


def read(folder: Path) -> dict[str, HomeFile]:
    """The files in a folder and those below it, by path; without git's own.

    Raises:
        UsageError: it can't be read, is too large, or has a file that doesn't belong in a VM: a
            link, a private key, or one that isn't text.
    """
    found: dict[str, HomeFile] = {}
    size = 0
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        text = _text(folder, path)
        size += len(text.encode())
        if len(found) == _FILES or size > _BYTES:
            what = f"it has more than {_FILES} files or {_BYTES // 1024} KiB"
            raise _bad(folder, what, "name a folder with dotfiles only: engineer.dotfiles")
        if name == _NOT_THEIRS or not name.isprintable():
            raise _bad(folder, f"{name!r} can't be copied to a VM", "remove it there")
        if "PRIVATE KEY-----" in text:
            what = f"{name} is a private key, which stays on your machine"
            raise _bad(folder, what, "remove it there; in a VM use: devvm ssh --forward-agent")
        mode = stat.S_IMODE(path.stat().st_mode) & 0o755 | 0o600
        found[name] = HomeFile(text=text, mode=mode)
    return found


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise _bad(folder, f"{error.filename}: {error.strerror}", f"ls -ld {folder}")

    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted([*files, *folders]):
            path = Path(root) / name
            if path.is_symlink():
                raise _bad(folder, f"{path.relative_to(folder)} is a link",
                           "put the file itself there")  # fmt: skip
            if name in files:
                yield path


def _text(folder: Path, path: Path) -> str:
    name = path.relative_to(folder)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _bad(folder, f"{name} is not a file", "move it elsewhere")
        with path.open("rb") as file:
            return file.read(_BYTES + 1).decode()
    except UnicodeDecodeError:
        raise _bad(folder, f"{name} is not text", "move it elsewhere") from None
    except OSError as error:
        raise _bad(folder, f"{name}: {error.strerror}", f"ls -l {path}") from None


def _bad(folder: Path, details: str, resolution: str) -> UsageError:
    return UsageError(
        f"the dotfiles in {folder} can't be used", details=details, resolution=resolution
    )
