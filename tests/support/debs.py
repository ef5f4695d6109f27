"""Makes Debian packages: from scratch, or as newer versions of real ones.

There are few kinds of updates in Debian, and each can be made here from a real package: only a
newer version, a changed configuration file, a new unit, a new dependency.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_MAINTAINER = "devvm's tests <nobody@localhost>"
#: Appended to the version to make a newer one.
SUFFIX = "+news"


def field(deb: Path, name: str) -> str:
    """A field of a package's control file; empty if it has none."""
    command = ["dpkg-deb", "--field", str(deb), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make(
    folder: Path,
    name: str,
    version: str = "1",
    *,
    files: Mapping[str, str] | None = None,
    conffiles: Iterable[str] = (),
    depends: str = "",
    fields: Mapping[str, str] | None = None,
) -> Path:
    """Make a package.

    Args:
        folder: Where to put the file.
        name: The package's name.
        version: Its version.
        files: The content of its files, by absolute path.
        conffiles: The files that dpkg treats as configuration.
        depends: Its dependencies, as in a control file.
        fields: Further control fields: `Essential`, `Priority`.
    """
    control = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": _MAINTAINER,
        "Depends": depends,
        **(fields or {}),
        "Description": f"{name} of devvm's tests",
    }
    with tempfile.TemporaryDirectory() as scratch:
        tree = _Tree(Path(scratch))
        for path, text in (files or {}).items():
            tree.write(path, text)
        tree.conffiles(conffiles)
        tree.control({key: value for key, value in control.items() if value})
        return tree.build(folder)


def newer(
    deb: Path,
    folder: Path,
    *,
    conffile: str | None = None,
    unit: str | None = None,
    depends: str | None = None,
    suffix: str = f"{SUFFIX}1",
) -> Path:
    """Make a newer version of a real package, otherwise unchanged.

    Args:
        deb: The package.
        folder: Where to put the new file.
        conffile: A configuration file of the package to add a line to.
        unit: The name of a service to add, enabled as in Debian's packages.
        depends: A package to depend on from now on.
        suffix: Appended to its version.
    """
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["dpkg-deb", "--raw-extract", str(deb), scratch], check=True)
        tree = _Tree(Path(scratch))
        version = f"{field(deb, 'Version')}{suffix}"
        changes = {"Version": version}
        if conffile is not None:
            was = tree.path(conffile).read_text()  # fails if it doesn't exist
            tree.write(conffile, f"{was}# Since {version}.\n")
        if unit is not None:
            tree.write(f"/lib/systemd/system/{unit}", _unit(unit))
            tree.script("postinst", f'if [ "$1" = configure ]; then {_ENABLE} {unit}; fi')
        if depends is not None:
            changes["Depends"] = ", ".join(filter(None, [field(deb, "Depends"), depends]))
        tree.change_control(changes)
        return tree.build(folder)


#: From init-system-helpers, which is essential; records what it enabled, and for which package.
_ENABLE = "deb-systemd-helper enable"


def _unit(name: str) -> str:
    return (
        f"[Unit]\nDescription={name} of devvm's tests\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


class _Tree:
    """An unpacked package, as `dpkg-deb --raw-extract` leaves it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.chmod(0o755)
        self._debian = root / "DEBIAN"
        self._debian.mkdir(exist_ok=True)

    def path(self, absolute: str) -> Path:
        return self._root / absolute.lstrip("/")

    def write(self, absolute: str, text: str) -> None:
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def conffiles(self, paths: Iterable[str]) -> None:
        if lines := "".join(f"{path}\n" for path in paths):
            (self._debian / "conffiles").write_text(lines)

    def control(self, fields: Mapping[str, str]) -> None:
        lines = "".join(f"{name}: {value}\n" for name, value in fields.items())
        (self._debian / "control").write_text(lines)

    def change_control(self, fields: Mapping[str, str]) -> None:
        """Replace or add fields of a single line."""
        path = self._debian / "control"
        lines = [
            line
            for line in path.read_text().splitlines()
            if line.partition(":")[0] not in fields or line.startswith(" ")
        ]
        # Insert before the description, which usually is the last field.
        path.write_text("\n".join([lines[0], *map(": ".join, fields.items()), *lines[1:], ""]))

    def script(self, name: str, line: str) -> None:
        """Put a line at the beginning of a maintainer script, after its options."""
        path = self._debian / name
        body = path.read_text() if path.exists() else "#!/bin/sh\nset -e\n"
        first, _, rest = body.partition("\n")
        path.write_text(f"{first}\n{line}\n{rest}")
        path.chmod(0o755)

    def build(self, folder: Path) -> Path:
        """Write the package's file, named as apt names downloads, and return its path."""
        self._sums()
        folder.mkdir(parents=True, exist_ok=True)
        control = (self._debian / "control").read_text().splitlines()
        named = dict(line.split(": ", 1) for line in control if ": " in line and line[0] != " ")
        version = named["Version"].replace(":", "%3a")
        file = folder / f"{named['Package']}_{version}_{named['Architecture']}.deb"
        # Fixed times: the same content makes the same file. Fast compression: tests build packages
        # often, and read each once.
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build"]
        subprocess.run(
            [*command, str(self._root), str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1700000000"},
        )
        return file

    def _sums(self) -> None:
        """Write the md5sums that dpkg keeps of all files but configuration files."""
        listed = self._debian / "conffiles"
        conffiles = set(listed.read_text().split()) if listed.exists() else set()
        lines = []
        for path in sorted(self._root.rglob("*")):
            name = str(path.relative_to(self._root))
            if path.is_symlink() or not path.is_file() or name.startswith("DEBIAN/"):
                continue
            if f"/{name}" not in conffiles:
                digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
                lines.append(f"{digest}  {name}\n")
        if lines:
            (self._debian / "md5sums").write_text("".join(lines))
