"""The boxes on this host: a folder for each release, with the Vagrant box and its metadata.

A box is registered if it has a `metadata.json`, which is written last, atomically, and only for a
verified box. A folder without one was left by an interrupted build.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devvm.domain import package_set
from devvm.domain.box import Box
from devvm.domain.check import MovedPackage
from devvm.domain.errors import HostNotReadyError, OperationError, UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release.identity import hash_of, same_release
from devvm.system import assets, trees
from devvm.system.state import State, write_atomic

DISK_GIB = 20
_FORMAT = 1
_FILE = "devvm.box"
_METADATA = "metadata.json"


class FolderBoxStore:
    """Implements `BoxStore` and `BoxWriter` with a folder of boxes.

    Args:
        state: The host's state folder.
    """

    def __init__(self, state: State) -> None:
        self._folder = state.boxes

    def list(self) -> list[Box]:
        """All registered boxes, newest first.

        Raises:
            OperationError: a box's metadata can't be read.
        """
        found = [_read(path) for path in self._folder.glob(f"*/{_METADATA}")]
        return sorted(found, key=lambda box: (box.built_at, box.release), reverse=True)

    def find(self, release: str) -> Box | None:
        """The box of `release`, whatever the date in its name, or None."""
        return next((box for box in self.list() if same_release(box.release, release)), None)

    def details(self, box: Box) -> dict[str, Any]:
        """The metadata of a registered box."""
        return _load(box.path.with_name(_METADATA))

    def package_set(self, box: Box) -> PackageSet | None:
        """The exact packages of a registered box; None if its metadata doesn't have them.

        Raises:
            OperationError: its metadata can't be read.
        """
        metadata = box.path.with_name(_METADATA)
        lines = _load(metadata).get("package_set")  # older boxes have none
        if not lines:
            return None
        try:
            return package_set.parse("\n".join(lines), str(metadata))
        except (UsageError, TypeError) as error:
            raise _unreadable(metadata, str(error)) from None

    def damage(self, box: Box) -> str | None:
        """How the box's file differs from the one that was registered; None if it doesn't."""
        try:
            actual = _sha256(box.path)
        except OSError as error:
            return f"{box.path} can't be read: {error.strerror}"
        if actual != box.sha256:
            return f"{box.path} has the sha256 {actual}, not {box.sha256}"
        return None

    def sha256(self, file: Path) -> str:
        """The SHA-256 of a file."""
        return _sha256(file)

    def image_sha256(self, box: Box) -> str:
        """The SHA-256 of a box's disk image.

        Raises:
            OperationError: the metadata doesn't have it, and the box's file can't be read.
        """
        if box.image_sha256:
            return box.image_sha256
        try:  # older boxes have no hash of their image in the metadata
            with tarfile.open(box.path) as archive:
                image = archive.extractfile("box.img")
                assert image is not None
                return hashlib.file_digest(image, "sha256").hexdigest()  # type: ignore[arg-type]
        except (OSError, tarfile.TarError, KeyError) as error:
            raise OperationError(
                f"the box {box.release} can't be read",
                details=f"{box.path}: {error}",
                resolution="build it again: sudo devvm box build --force",
            ) from None

    def pack(
        self, image: Path, release: str, destination: Path, packages: PackageSet | None = None
    ) -> Box:
        """Write a Vagrant box with a disk image: a candidate, neither verified nor registered.

        All or nothing. The archive isn't compressed, because the image is. The package set is
        included, so that the box can be identified wherever Vagrant has unpacked it.
        """
        unfinished = destination.with_suffix(".part")
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB}
        with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
            _add(archive, "metadata.json", json.dumps(metadata))
            if packages is not None:
                _add(archive, package_set.FILE, packages.text())
            _add(archive, "Vagrantfile", assets.box_vagrantfile().read_text(encoding="utf-8"))
            archive.add(image, "box.img", filter=_without_owner)
        unfinished.replace(destination)
        return Box(
            release=release,
            path=destination,
            sha256=_sha256(destination),
            image_sha256=_sha256(image),
            built_at="",
            size_bytes=destination.stat().st_size,
            verified=False,
            debian="",
        )

    def register(self, box: Box, facts: Mapping[str, Any]) -> Box:
        """Register a verified candidate. Its metadata is written last.

        Args:
            box: The candidate.
            facts: Further metadata: `built_at`, `debian`, `packages` and more.
        """
        folder = self._folder / box.release
        metadata = folder / _METADATA
        metadata.unlink(missing_ok=True)  # until the end, the release has no registered box
        folder.mkdir(exist_ok=True)
        folder.chmod(0o2775)
        destination = folder / _FILE
        with box.path.open("rb") as file:
            os.fsync(file.fileno())  # a registered box is complete, even after the host crashed
        box.path.replace(destination)
        for path in (folder, destination):
            os.chown(path, -1, self._folder.stat().st_gid)
        destination.chmod(0o640)
        content = {
            "format": _FORMAT,
            "release": box.release,
            "sha256": box.sha256,
            "image_sha256": box.image_sha256,
            "size_bytes": box.size_bytes,
            "verified": True,
            **facts,
        }
        write_atomic(metadata, json.dumps(content, indent=2) + "\n", mode=0o640)
        os.chown(metadata, -1, self._folder.stat().st_gid)
        return _read(metadata)

    def remove(self, box: Box) -> None:
        """Delete the box's files, its metadata first.

        Raises:
            HostNotReadyError: this user has no permission.
        """
        folder = self._folder / box.release
        try:
            (folder / _METADATA).unlink(missing_ok=True)
            trees.remove(folder)
        except PermissionError as error:
            raise HostNotReadyError(
                f"the box {box.release} can't be removed: permission denied",
                details=str(error),
                resolution=f"sudo devvm box remove {box.release}",
            ) from None


def _load(metadata: Path) -> dict[str, Any]:
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
        found = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(metadata, f"{type(error).__name__}: {error}") from None
    if found != _FORMAT:
        raise _unreadable(metadata, f"it has format {found}, this devvm reads {_FORMAT}")
    assert isinstance(content, dict)
    return content


def _read(metadata: Path) -> Box:
    content = _load(metadata)
    try:
        return Box(
            release=content["release"],
            path=metadata.with_name(_FILE),
            sha256=content["sha256"],
            built_at=content["built_at"],
            size_bytes=content["size_bytes"],
            verified=content["verified"],
            debian=content["debian"],
            packages=content["packages"],
            image_sha256=content.get("image_sha256", ""),  # older boxes have none
            production_sha256=content.get("production_sha256", ""),  # nor this
            content=content.get("content") or hash_of(content["release"]),
            applications=content.get("applications", {}),
            stack=content.get("stack", ""),
            moved=tuple(MovedPackage(**one) for one in content.get("moved", ())),
        )
    except KeyError as error:
        raise _unreadable(metadata, f"missing: {error}") from None
    except TypeError as error:
        raise _unreadable(metadata, str(error)) from None


def _unreadable(metadata: Path, reason: str) -> OperationError:
    return OperationError(
        f"{metadata} can't be read",
        details=reason,
        resolution=f"if the box is damaged, remove it and build it again: sudo rm -r "
        f"{metadata.parent}; sudo devvm box build",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(_without_owner(entry), io.BytesIO(data))


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o644
    return entry
