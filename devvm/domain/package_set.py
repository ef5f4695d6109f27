"""The exact set of Debian packages in a box, and its file format, `packages.lock`.

A set is resolved once, from signed indices, and is part of the hash in a release's name. The file
has one package per line, sorted, so that a pull request shows what changes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from devvm.domain.errors import UsageError

#: The Debian release that boxes are built from.
SUITE = "bookworm"
#: The name of the file.
FILE = "packages.lock"
#: Debian's archives. The configuration has mirrors for each.
ARCHIVES = ("main", "security")

_REQUIRED, _OTHER = "required", "other"
_TITLE = (
    "The Debian packages of this stack's box, each exact. Written by: devvm release lock",
    "name architecture version sha256 size archive priority path",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_ARCHITECTURE = re.compile(r"[a-z][a-z0-9-]*")
_VERSION = re.compile(r"(\d+:)?[A-Za-z0-9][A-Za-z0-9.+~-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"[1-9]\d{0,14}")
_ARCHIVE = re.compile(r"[a-z][a-z0-9-]{0,30}")
#: A path below a mirror.
PATH = re.compile(
    r"([A-Za-z0-9_@][A-Za-z0-9.+~_:%@=,-]*/)*[A-Za-z0-9_@][A-Za-z0-9.+~_:%@=,-]*\.deb"
)
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """One package, exactly.

    Attributes:
        name: Its name.
        architecture: `amd64`, or `all`.
        version: Its version.
        sha256: The hash of its file.
        size: The size of its file, in bytes.
        archive: Where it comes from: the one of `ARCHIVES` that has it, or the name of a repository
            in `stack.yml`.
        required: Whether the archive gives it the priority `required`, whatever the package itself
            says. Such packages are in every Debian, and not marked as automatically installed.
        path: The path of its file below the archive's URL: `pool/main/n/nginx/...deb`.
    """

    name: str
    architecture: str
    version: str
    sha256: str
    size: int
    archive: str
    required: bool = False
    path: str

    @property
    def identity(self) -> str:
        """What identifies it, whichever archive it comes from."""
        return f"{self.name} {self.architecture} {self.version} {self.sha256}"

    @property
    def line(self) -> str:
        """Its line in `packages.lock`."""
        priority = _REQUIRED if self.required else _OTHER
        return f"{self.identity} {self.size} {self.archive} {priority} {self.path}"


@dataclass(frozen=True, kw_only=True)
class PackageSet:
    """The packages of a box. Two sets are equal if their packages are.

    Attributes:
        packages: Each package once, sorted by name.
        notes: Where the set comes from: lines for people.
    """

    packages: tuple[Package, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packages", tuple(sorted(self.packages)))

    def __iter__(self) -> Iterator[Package]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)

    @property
    def sha256(self) -> str:
        """The hash of the packages' identities, regardless of where they come from."""
        text = "".join(f"{package.identity}\n" for package in self.packages)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def versions(self) -> dict[str, str]:
        """The version of each package, by name."""
        return {package.name: package.version for package in self.packages}

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(package.size for package in self.packages)

    def text(self) -> str:
        """The set in the format of `packages.lock`."""
        head = "".join(f"# {line}\n" for line in (*_TITLE, *self.notes))
        return head + "".join(f"{package.line}\n" for package in self.packages)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Those of the given packages that aren't in the set."""
        return sorted(set(names) - self.versions.keys())

    def differs_from(self, installed: Mapping[tuple[str, str], str]) -> list[str]:
        """How a machine's packages differ from the set, one difference per line.

        Args:
            installed: Versions by name and architecture.
        """
        wanted = {(p.name, p.architecture): p.version for p in self.packages}
        found = []
        for name, architecture in sorted(wanted.keys() | installed.keys()):
            want, has = (kind.get((name, architecture)) for kind in (wanted, installed))
            if want != has:
                found.append(
                    f"{name}:{architecture}: "
                    + (f"{has} instead of {want}" if want and has else
                       f"{want} is missing" if want else f"{has} is not in the set")
                )  # fmt: skip
        return found


def parse(text: str, source: str) -> PackageSet:
    """Parse a `packages.lock`.

    Args:
        text: Its content.
        source: The file's name, for messages.

    Raises:
        UsageError: the text is invalid; names file and line.
    """
    found: dict[str, int] = {}
    packages: list[Package] = []
    notes: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{source}:{number}"
        if line.endswith("\r"):
            _refuse(where, "the line ends in CR LF; the file's lines must end in LF")
        if line.startswith(_CONFLICT):
            _refuse(where, f"unresolved merge conflict: {line[:40]}")
        if line.startswith("#"):
            note = line.removeprefix("#").strip()
            notes += [note] * (not packages and note not in _TITLE)
        elif line.strip():
            package = _package(line, where)
            if package.name in found:
                first = found[package.name]
                _refuse(where, f"{package.name} is listed twice; line {first} has it too")
            found[package.name] = number
            packages.append(package)
    if not packages:
        _refuse(source, "it has no packages")
    return PackageSet(packages=tuple(packages), notes=tuple(notes))


def _package(line: str, where: str) -> Package:
    fields = line.split(" ")
    if len(fields) != len(_FIELDS):
        _refuse(
            where,
            f"it has {len(fields)} columns, not {len(_FIELDS)}: {', '.join(_FIELDS)}, with one "
            "space between them",
        )
    for (name, rule), value in zip(_FIELDS.items(), fields, strict=True):
        if not rule.fullmatch(value):
            shown = value if len(value) <= 80 else f"{value[:77]}..."
            _refuse(where, f"{shown!r} is not a valid {name}")
    name, architecture, version, sha256, size, archive, priority, path = fields
    return Package(
        name=name, architecture=architecture, version=version, sha256=sha256, size=int(size),
        archive=archive, required=priority == _REQUIRED, path=path,
    )  # fmt: skip


_FIELDS = {
    "package name": _NAME,
    "architecture": _ARCHITECTURE,
    "version": _VERSION,
    "sha256": _SHA256,
    "size": _SIZE,
    "archive (main, security or a repository's name)": _ARCHIVE,
    "priority (required or other)": re.compile(f"{_REQUIRED}|{_OTHER}"),
    "path below a mirror": PATH,
}


def _refuse(where: str, reason: str) -> NoReturn:
    raise UsageError(f"{where}: {reason}", resolution="fix the file, or: devvm release lock")
