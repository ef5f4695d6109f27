"""What lets a person use devvm on a host: groups, the state folder, VM names, the PATH."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from devvm.system import process

#: Whose members may use libvirt, and with it everything of devvm's on a host.
GROUP = "libvirt"
_GROUPS = (GROUP, "kvm")
_MODE = 0o2770  # the folders' group is inherited, so that engineers share them


class Groups:
    """The person's membership in libvirt's groups; root needs none.

    Args:
        login: The person.
    """

    key = "groups"
    title = "Letting you use libvirt"
    optional = False
    builds_only = False

    def __init__(self, login: str) -> None:
        self._login = login

    def missing(self) -> list[str]:
        """The groups that the person is not in."""
        absent = self._absent()
        noun = "group" if len(absent) == 1 else "groups"
        return [f"add {self._login} to the {noun} {' and '.join(absent)}"] if absent else []

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Add the person; counts from the next login, or in a command started by `sg`."""
        absent = self._absent()
        detail(" ".join(absent))
        for group in absent:  # the package that makes it may not be there yet, or never
            process.run(["groupadd", "--system", "--force", group], log=log, sudo=True)
        process.run(["usermod", "-aG", ",".join(absent), self._login], log=log, sudo=True)

    def not_yet_in_force(self) -> list[str]:
        """Groups that the person is in, but this process, begun before, is not."""
        if self._login == "root" or os.geteuid() == 0:
            return []
        held = {*os.getgroups(), os.getegid()}
        ids = _group_ids()
        return [name for name in _member_of(self._login) if name in ids and ids[name] not in held]

    def _absent(self) -> list[str]:
        if self._login == "root":
            return []
        present = _member_of(self._login)
        return [name for name in _GROUPS if name not in present]


class StateFolder:
    """The folder of what only the host knows, shared by libvirt's group."""

    key = "state"
    title = "Creating the state folder"
    optional = False
    builds_only = False

    _SUBFOLDERS = ("boxes", "ca", "locks", "logs", "vms")

    def __init__(self, root: Path) -> None:
        self._root = root

    def missing(self) -> list[str]:
        """Whether it has to be made or shared."""
        if not self._root.exists():
            return [f"create the folder {self._root} for the group {GROUP}"]
        if all(_shared(self._root / name) for name in ("", *self._SUBFOLDERS)):
            return []
        return [f"share the folder {self._root} with the group {GROUP}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Make and share it."""
        detail(str(self._root))
        process.run(["groupadd", "--system", "--force", GROUP], log=log, sudo=True)
        folders = [self._root, *(self._root / name for name in self._SUBFOLDERS)]
        process.run(["mkdir", "-p", *folders], log=log, sudo=True)
        process.run(["chgrp", GROUP, *folders], log=log, sudo=True)
        process.run(["chmod", f"{_MODE:o}", *folders], log=log, sudo=True)


class NameResolution:
    """`libvirt_guest` in nsswitch.conf, so that `dev1.devvm.test` is found on the host."""

    key = "names"
    title = "Making VM names resolve"
    optional = False
    builds_only = True

    def __init__(self, path: Path = Path("/etc/nsswitch.conf")) -> None:
        self._path = path

    def missing(self) -> list[str]:
        """Whether the line lacks it."""
        text = self._read()
        return [] if with_guests(text) == text else [f"add libvirt_guest to hosts in {self._path}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Edit the file: the old one is kept beside it, the new one put in its place whole."""
        detail(str(self._path))
        backup, new = f"{self._path}.before-devvm", f"{self._path}.devvm-new"
        text = with_guests(self._read())
        if self._path.exists() and not Path(backup).exists():
            process.run(["cp", "-p", self._path, backup], log=log, sudo=True)
        process.run(["tee", new], stdin=text, sudo=True)
        process.run(["chmod", "644", new], log=log, sudo=True)
        process.run(["mv", new, self._path], log=log, sudo=True)

    def _read(self) -> str:
        return self._path.read_text(encoding="utf-8") if self._path.exists() else ""


class PathLink:
    """A link to `bin/devvm` in a folder of the PATH, where `devvm` isn't there already.

    Args:
        launcher: `bin/devvm` of the checkout.
        folder: Where the link goes.
    """

    key = "path"
    title = "Putting devvm on the PATH"
    optional = True
    builds_only = True

    def __init__(self, launcher: Path, folder: Path | None = None) -> None:
        root = os.geteuid() == 0
        self._launcher = launcher
        self._folder = folder or (Path("/usr/local/bin") if root else Path.home() / ".local/bin")

    def missing(self) -> list[str]:
        """Whether the link would be made."""
        found = shutil.which("devvm")
        link = self._folder / "devvm"
        if found or link.exists():
            return []
        return [f"put devvm on the PATH: {link} -> {self._launcher}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:  # noqa: ARG002
        """Make the link, in place of one that leads nowhere."""
        link = self._folder / "devvm"
        detail(str(link))
        self._folder.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self._launcher)


def with_guests(text: str) -> str:
    """nsswitch.conf with `libvirt_guest` right after `files` in its `hosts` line."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        database, colon, sources = line.partition(":")
        if database.strip() != "hosts" or not colon:
            continue
        words = sources.partition("#")[0].split()
        if "libvirt_guest" in words:
            return text
        place = words.index("files") + 1 if "files" in words else 0
        words.insert(place, "libvirt_guest")
        lines[number] = f"hosts:          {' '.join(words)}"
        return "\n".join(lines) + "\n"
    return "\n".join([*lines, "hosts:          files libvirt_guest dns"]) + "\n"


def _member_of(login: str) -> set[str]:
    """The groups of a person, by the group file and not by this process."""
    try:
        primary = pwd.getpwnam(login).pw_gid
    except KeyError:
        return set()
    return {group.gr_name for group in grp.getgrall() if login in group.gr_mem} | {
        name for name, gid in _group_ids().items() if gid == primary
    }


def _group_ids() -> dict[str, int]:
    ids = {}
    for name in _GROUPS:
        try:
            ids[name] = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
    return ids


def _shared(folder: Path) -> bool:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return False
    except PermissionError:  # the folder above is shared, this person just not in force yet
        return True
    if os.geteuid() != 0 and os.access(folder, os.W_OK | os.X_OK):
        return True
    group = _group_ids().get(GROUP)
    return status.st_gid == group and stat.S_IMODE(status.st_mode) & _MODE == _MODE


def with_groups(argv: Sequence[str], groups: Sequence[str]) -> list[str]:
    """`argv` as a command that runs with further groups of the person's in force."""
    for group in groups:
        argv = ["sg", group, "-c", shlex.join(argv)]
    return list(argv)
