"""Turns a folder of package files into an apt repository, with `Packages` and `Release`."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

from devvm.domain.package_set import SUITE, Package, PackageSet
from devvm.system import process

_MAGIC = b"!<arch>\n"
_HEADER = 60


class FlatRepositories:
    """Implements `FlatRepositories`."""

    def file(self, folder: Path, package: Package) -> Path:
        """The path of a package's file in the folder."""
        return folder / _file_name(package)

    def index(self, folder: Path, packages: PackageSet) -> None:
        """Write the indices. All files must be in the folder already.

        Raises:
            OperationError: a file is not a Debian package.
        """
        paragraphs = []
        for package in packages:
            name = _file_name(package)
            control = _with_priority(_control(folder / name).strip(), required=package.required)
            own = f"Filename: ./{name}\nSize: {package.size}\nSHA256: {package.sha256}"
            paragraphs.append(f"{control}\n{own}\n")
        index = "\n".join(paragraphs).encode()
        (folder / "Packages").write_bytes(index)
        (folder / "Release").write_text(
            f"Suite: {SUITE}\nCodename: {SUITE}\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n"
            f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n",
            encoding="utf-8",
        )


def _file_name(package: Package) -> str:
    version = package.version.replace(":", "%3a")
    return f"{package.name}_{version}_{package.architecture}.deb"


def _with_priority(control: str, *, required: bool) -> str:
    """A control file with the archive's priority, which only matters for `required`."""
    lines = control.splitlines()
    own = next((line for line in lines if line.startswith("Priority: ")), "Priority: optional")
    others = [line for line in lines if not line.startswith("Priority: ")]
    if required:
        own = "Priority: required"
    elif own == "Priority: required" and "Essential: yes" not in lines:
        own = "Priority: important"
    return "\n".join([others[0], own, *others[1:]])


def _control(deb: Path) -> str:
    """Return a package's control file.

    The usual compressions are read here: starting `dpkg-deb` takes 16 ms for each package.
    """
    for name, content in _members(deb):
        if name == "control.tar.xz":
            return _file_of(lzma.decompress(content))
        if name == "control.tar.gz":
            return _file_of(content)
        if name.startswith("control.tar"):
            break
    return process.run(["dpkg-deb", "--field", deb]).stdout


def _members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """The members of an ar(5) archive."""
    with deb.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        while len(header := file.read(_HEADER)) == _HEADER:
            size = int(header[48:58])
            yield header[:16].decode().strip().removesuffix("/"), file.read(size)
            file.seek(size % 2, io.SEEK_CUR)


def _file_of(archive: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = next(m for m in tar if m.name.removeprefix("./") == "control")
        content = tar.extractfile(member)
        assert content is not None
        return content.read().decode()
