"""Makes Debian packages: from scratch, or newer versions of real ones.

Debian's updates are of a few kinds, and each is made here from a real package: only a newer
version, a changed configuration file, a new unit, a new dependency.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_MAINTAINER = "devvm's tests <nobody@localhost>"
#: Added to the version of a package that is made newer.
SUFFIX = "+news"


def field(deb: Path, name: str) -> str:
    """One field of a package's control file; empty where it has none."""
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
    """Make a package of our own.

    Args:
        folder: Where the file goes.
        name: The package.
        version: Its version.
        files: Absolute paths, and the texts that they hold.
        conffiles: Those of the files that dpkg treats as configuration.
        depends: As in a control file.
        fields: Others of its control file: `Essential`, `Priority`.
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
    """Make a newer version of a real package; what is not asked for stays as it is.

    Args:
        deb: The package.
        folder: Where the new file goes.
        conffile: One of its configuration files, which gets another line.
        unit: The name of a service that it brings from now on, enabled as Debian's packages do it.
        depends: A package that it depends on from now on.
        suffix: What its version gets at the end.
    """
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["dpkg-deb", "--raw-extract", str(deb), scratch], check=True)
        tree = _Tree(Path(scratch))
        version = f"{field(deb, 'Version')}{suffix}"
        changes = {"Version": version}
        if conffile is not None:
            was = tree.path(conffile).read_text()  # there is one, or this is a mistake
            tree.write(conffile, f"{was}# Since {version}.\n")
        if unit is not None:
            tree.write(f"/lib/systemd/system/{unit}", _unit(unit))
            tree.script("postinst", f'if [ "$1" = configure ]; then {_ENABLE} {unit}; fi')
        if depends is not None:
            changes["Depends"] = ", ".join(filter(None, [field(deb, "Depends"), depends]))
        tree.change_control(changes)
        return tree.build(folder)


#: Of init-system-helpers, which is essential; it notes what it enabled, and for which package.
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
        """Replace or add fields; those of one line only."""
        path = self._debian / "control"
        lines = [
            line
            for line in path.read_text().splitlines()
            if line.partition(":")[0] not in fields or line.startswith(" ")
        ]
        # Before the description, whose text is the rest of the file's usual end.
        path.write_text("\n".join([lines[0], *map(": ".join, fields.items()), *lines[1:], ""]))

    def script(self, name: str, line: str) -> None:
        """Put a line at the beginning of a maintainer script, after its options."""
        path = self._debian / name
        body = path.read_text() if path.exists() else "#!/bin/sh\nset -e\n"
        first, _, rest = body.partition("\n")
        path.write_text(f"{first}\n{line}\n{rest}")
        path.chmod(0o755)

    def build(self, folder: Path) -> Path:
        """Write the package's file; its path, which is named as apt names what it downloads."""
        self._sums()
        folder.mkdir(parents=True, exist_ok=True)
        control = (self._debian / "control").read_text().splitlines()
        named = dict(line.split(": ", 1) for line in control if ": " in line and line[0] != " ")
        version = named["Version"].replace(":", "%3a")
        file = folder / f"{named['Package']}_{version}_{named['Architecture']}.deb"
        # Times of no day: what is made of the same content is the same file. Hardly packed: the
        # tests make it often, and read it once.
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build"]
        subprocess.run(
            [*command, str(self._root), str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1700000000"},
        )
        return file

    def _sums(self) -> None:
        """The sums that dpkg keeps of what is no configuration file."""
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
