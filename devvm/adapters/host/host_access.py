"""What a person needs to use devvm on a host: groups, the state folder, VM names, the PATH."""

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

#: Its members may use libvirt, and so everything of devvm's on the host.
GROUP = "libvirt"
_GROUPS = (GROUP, "kvm")
_MODE = 0o2770  # setgid: new files inherit the group, so that engineers share them


class Groups:
    """A person's membership in libvirt's groups; root doesn't need any.

    Args:
        login: The person.
    """

    key = "groups"
    title = "Letting you use libvirt"
    optional = False
    needed_only_to_create = False

    def __init__(self, login: str) -> None:
        self._login = login

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        absent = self._absent()
        noun = "group" if len(absent) == 1 else "groups"
        return [f"add {self._login} to the {noun} {' and '.join(absent)}"] if absent else []

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Add the person to the groups. Takes effect at the next login, or under `sg` at once."""
        absent = self._absent()
        detail(" ".join(absent))
        for group in absent:  # perhaps the package that creates it isn't installed
            process.run(["groupadd", "--system", "--force", group], log=log, sudo=True)
        process.run(["usermod", "-aG", ",".join(absent), self._login], log=log, sudo=True)

    def not_yet_in_force(self) -> list[str]:
        """The person's groups that this process lacks, because it was started before."""
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
    """The state folder, shared with the group `libvirt`."""

    key = "state"
    title = "Creating the state folder"
    optional = False
    needed_only_to_create = False

    _SUBFOLDERS = ("boxes", "ca", "locks", "logs", "vms")

    def __init__(self, root: Path) -> None:
        self._root = root

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        if not self._root.exists():
            return [f"create the folder {self._root} for the group {GROUP}"]
        if all(_shared(self._root / name) for name in ("", *self._SUBFOLDERS)):
            return []
        return [f"share the folder {self._root} with the group {GROUP}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Create and share it."""
        detail(str(self._root))
        process.run(["groupadd", "--system", "--force", GROUP], log=log, sudo=True)
        folders = [self._root, *(self._root / name for name in self._SUBFOLDERS)]
        process.run(["mkdir", "-p", *folders], log=log, sudo=True)
        process.run(["chgrp", GROUP, *folders], log=log, sudo=True)
        process.run(["chmod", f"{_MODE:o}", *folders], log=log, sudo=True)


class NameResolution:
    """`libvirt_guest` in nsswitch.conf, so that `dev1.devvm.test` resolves on the host."""

    key = "names"
    title = "Making VM names resolve"
    optional = False
    needed_only_to_create = True

    def __init__(self, path: Path = Path("/etc/nsswitch.conf")) -> None:
        self._path = path

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        text = self._read()
        return [] if with_guests(text) == text else [f"add libvirt_guest to hosts in {self._path}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Edit the file: keep a backup beside it, and replace it atomically."""
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
    """A link to `bin/devvm` in a folder of the PATH, unless `devvm` is on it already.

    Args:
        launcher: `bin/devvm` of the checkout.
        folder: Where to create the link.
    """

    key = "path"
    title = "Putting devvm on the PATH"
    optional = True
    needed_only_to_create = True

    def __init__(self, launcher: Path, folder: Path | None = None) -> None:
        root = os.geteuid() == 0
        self._launcher = launcher
        self._folder = folder or (Path("/usr/local/bin") if root else Path.home() / ".local/bin")

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        found = shutil.which("devvm")
        link = self._folder / "devvm"
        if found or link.exists():
            return []
        return [f"put devvm on the PATH: {link} -> {self._launcher}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:  # noqa: ARG002
        """Create the link, replacing a dangling one."""
        link = self._folder / "devvm"
        detail(str(link))
        self._folder.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self._launcher)


def with_guests(text: str) -> str:
    """Add `libvirt_guest` after `files` in the `hosts` line of nsswitch.conf's text."""
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
    """The groups of a person, from the group database rather than from this process."""
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
    except PermissionError:  # the parent is shared, but this process lacks the group so far
        return True
    if os.geteuid() != 0 and os.access(folder, os.W_OK | os.X_OK):
        return True
    group = _group_ids().get(GROUP)
    return status.st_gid == group and stat.S_IMODE(status.st_mode) & _MODE == _MODE


def with_groups(argv: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Wrap `argv` so that it runs with these groups of the user's."""
    for group in groups:
        argv = ["sg", group, "-c", shlex.join(argv)]
    return list(argv)
