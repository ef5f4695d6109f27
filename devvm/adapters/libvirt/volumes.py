"""devvm's storage pool and its volumes."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import layers
from devvm.adapters.libvirt.connection import NOT_FOUND, Connection, if_exists, translated
from devvm.adapters.libvirt.domains import Domains
from devvm.config import Config
from devvm.domain.disk import Volume
from devvm.domain.errors import HostNotReadyError, OperationError

_MIB = 1024**2


def pool_xml(name: str, path: Path) -> str:
    """The definition of a pool in a folder, which QEMU's own user can enter."""
    pool = ET.Element("pool", type="dir")
    ET.SubElement(pool, "name").text = name
    target = ET.SubElement(pool, "target")
    ET.SubElement(target, "path").text = str(path)
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = "0711"
    return ET.tostring(pool, encoding="unicode")


def volume_xml(name: str, capacity: int, *, mode: str, below: Path | None = None) -> str:
    """The definition of a qcow2 volume: for an upload or, with `below`, a layer on another one."""
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", unit="bytes").text = str(capacity)
    ET.SubElement(volume, "allocation", unit="bytes").text = "0"
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type="qcow2")
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = mode
    if below is not None:
        backing = ET.SubElement(volume, "backingStore")
        ET.SubElement(backing, "path").text = str(below)
        ET.SubElement(backing, "format", type="qcow2")
    return ET.tostring(volume, encoding="unicode")


class Volumes:
    """Implements `Volumes` for one storage pool.

    Args:
        connection: The connection to the host.
        config: Names the pool, its folder and the VMs' DNS domain.
        domains: The domains that may use volumes.
    """

    def __init__(self, connection: Connection, config: Config, domains: Domains) -> None:
        self._connection = connection
        self._name = config.pool
        self._path = config.pool_path
        self._of_vms = re.compile(rf"[a-z0-9-]+\.{re.escape(config.network.domain)}(\.img|-.*)")
        self._domains = domains

    def ensure(self) -> None:
        """Create the pool if it doesn't exist, start it, and mark it for autostart.

        Raises:
            HostNotReadyError: there is a pool of this name in another folder.
        """
        with translated(
            f"the storage pool {self._name} can't be created", resolution="devvm setup"
        ):
            pool = self._find()
            if pool is None:
                connection = self._connection.get()
                pool = connection.storagePoolDefineXML(pool_xml(self._name, self._path))
            else:
                self._check_path(pool)
            if not pool.isActive():
                pool.build(0)  # creates its folder if needed
                pool.create(0)
            if not pool.autostart():
                pool.setAutostart(1)
            _refresh(pool)

    def free_bytes(self) -> int:
        """Free space in the pool, or where it will be if it doesn't exist yet."""
        with translated(f"the storage pool {self._name} can't be read", resolution="devvm setup"):
            pool = self._find()
            if pool is not None and pool.isActive():
                _refresh(pool)
                return int(pool.info()[3])
        existing = next(p for p in (self._path, *self._path.parents) if p.exists())
        return shutil.disk_usage(existing).free

    def exists(self, name: str) -> bool:
        """Whether the pool has a volume of this name."""
        return self._volume(name) is not None

    def all(self) -> list[Volume]:
        """All volumes of the pool, sorted by name, after a refresh."""
        with translated(f"the storage pool {self._name} can't be read"):
            pool = self._find()
            if pool is None or not pool.isActive():
                return []
            _refresh(pool)
            found = []
            for volume in pool.listAllVolumes():
                try:
                    found.append(_describe(volume))
                except libvirt.libvirtError as error:
                    if error.get_error_code() not in NOT_FOUND:  # deleted since it was listed
                        raise
        return sorted(found, key=lambda volume: volume.name)

    def unused(self) -> list[Volume]:
        """Unneeded volumes of VMs, recognised by name; each layer before the one below it."""
        volumes = self.all()
        needed = layers.needed(volumes, self._domains.users())
        return [
            volume
            for volume in layers.top_down(volumes)
            if volume.path not in needed and self._of_vms.fullmatch(volume.name)
        ]

    def users_of(self, name: str) -> list[str]:
        """Names of the domains that use a volume, directly or through a layer on it."""
        return layers.users_of(name, self.all(), self._domains.users())

    def layer(self, name: str, below: Path, size_bytes: int | None = None) -> Path:
        """Create an empty volume on top of another, and return its path.

        Args:
            name: Its name; a volume of that name, left by a killed call, is replaced.
            below: The volume below.
            size_bytes: The size that a guest sees; by default that of `below`.
        """
        with translated(f"the volume {name} can't be created"):
            old = self._volume(name)
            if old is not None:
                old.delete(0)
            size = size_bytes or self.size(below)[0]
            return Path(
                self._get().createXML(volume_xml(name, size, mode="0600", below=below)).path()
            )

    def resize(self, path: Path, size_bytes: int) -> None:
        """Enlarge a volume that no running VM uses."""
        with translated(f"the volume {path.name} can't be resized"):
            self._connection.get().storageVolLookupByPath(str(path)).resize(size_bytes)

    def sha256(self, name: str) -> str | None:
        """The SHA-256 of a volume's file; None if the volume doesn't exist."""
        volume = self._volume(name)
        if volume is None:
            return None
        digest = hashlib.sha256()
        with translated(f"the volume {name} can't be read"):
            stream = self._connection.get().newStream(0)
            volume.download(stream, 0, 0, 0)
            stream.recvAll(lambda _stream, data, _opaque: digest.update(data), None)
            stream.finish()
        return digest.hexdigest()

    def path_for(self, name: str) -> Path:
        """Where a volume of this name is, or would be."""
        return self._path / name

    def read_start(self, path: Path, length: int) -> bytes:
        """The first bytes of a volume's file; fewer if it is shorter."""
        found = bytearray()
        with translated(f"the volume {path.name} can't be read"):
            stream = self._connection.get().newStream(0)
            self._known(path).download(stream, 0, length, 0)
            stream.recvAll(lambda _stream, data, _opaque: found.extend(data), None)
            stream.finish()
        return bytes(found)

    def write_start(self, path: Path, data: bytes) -> None:
        """Write the first bytes of a volume's file."""
        left = memoryview(data)

        def read(_stream: object, count: int, _opaque: object) -> bytes:
            nonlocal left
            part, left = left[:count], left[count:]
            return bytes(part)

        with translated(f"the volume {path.name} can't be written"):
            stream = self._connection.get().newStream(0)
            self._known(path).upload(stream, 0, len(data), 0)
            stream.sendAll(read, None)
            stream.finish()

    def size(self, path: Path) -> tuple[int, int]:
        """Bytes that a volume offers, and bytes that it takes; (0, 0) if it doesn't exist."""
        with translated(f"the size of {path} can't be read"):
            try:
                volume = self._connection.get().storageVolLookupByPath(str(path))
                _, capacity, allocation = volume.info()
            except libvirt.libvirtError as error:
                if error.get_error_code() in NOT_FOUND:
                    return 0, 0
                raise
            return int(capacity), int(allocation)

    def remove(self, name: str) -> None:
        """Delete a volume, if it exists.

        Raises:
            OperationError: a domain needs it. No caller should attempt that; this is the last
                safeguard against losing data.
        """
        users = self.users_of(name)
        if users:
            raise OperationError(
                f"the volume {name} was not deleted: it is in use",
                details="by " + ", ".join(users),
                resolution="devvm doctor",
            )
        volume = self._volume(name)
        if volume is not None:
            with translated(f"the volume {name} can't be deleted"):
                volume.delete(0)

    def upload(
        self,
        name: str,
        source: Path,
        detail: Callable[[str], None],
        *,
        mode: str = "0600",
        overwrite: bool = False,
    ) -> Path:
        """Upload a qcow2 file to the pool, all or nothing, and return the volume's path.

        A volume grows while it is written: if it is as long as the file, it is complete, and left
        alone. Any other was left by a killed upload, and is replaced if nothing uses it.
        `overwrite` rewrites an existing volume in place, under the layers on it.

        Raises:
            OperationError: the upload failed, or another volume of this name is in use.
        """
        size = source.stat().st_size
        with translated(
            f"the volume {name} can't be written", resolution="check the free disk space"
        ):
            volume = self._volume(name)
            if volume is not None and overwrite:
                self._send(volume, source, size, detail)
            elif volume is not None and _length(volume) != size:
                self._refuse_if_used(name)
                volume.delete(0)
                volume = None
            if volume is None:
                volume = self._get().createXML(volume_xml(name, size, mode=mode))
                try:
                    self._send(volume, source, size, detail)
                except BaseException:
                    volume.delete(0)
                    raise
            return Path(volume.path())

    def _send(
        self, volume: libvirt.virStorageVol, source: Path, size: int, detail: Callable[[str], None]
    ) -> None:
        stream = self._connection.get().newStream(0)
        volume.upload(stream, 0, size, 0)
        with source.open("rb") as file:

            def read(_stream: object, count: int, _opaque: object) -> bytes:
                if file.tell() % (64 * _MIB) < count:
                    detail(f"copying the disk image: {file.tell() // _MIB} of {size // _MIB} MiB")
                return file.read(count)

            stream.sendAll(read, None)
        stream.finish()
        if _length(volume) != size:
            raise OperationError(f"the volume {volume.name()} was not written completely")

    def _refuse_if_used(self, name: str) -> None:
        path = self._path_of(name)
        if any(volume.below == path for volume in self.all()):
            raise OperationError(
                f"the volume {name} is not the current image of its box, but VMs are based on it",
                details="the box was rebuilt under the same name, or the volume was damaged",
                resolution="destroy the VMs that use it, or build the box under a new release",
            )

    def _path_of(self, name: str) -> Path:
        volume = self._volume(name)
        return self._path / name if volume is None else Path(volume.path())

    def _known(self, path: Path) -> libvirt.virStorageVol:
        """Look up a volume, which libvirt may not have noticed yet."""
        try:
            return self._connection.get().storageVolLookupByPath(str(path))
        except libvirt.libvirtError as error:
            if error.get_error_code() not in NOT_FOUND:
                raise
        _refresh(self._get())
        return self._connection.get().storageVolLookupByPath(str(path))

    def _volume(self, name: str) -> libvirt.virStorageVol | None:
        with translated(f"the volume {name} can't be looked up"):
            pool = self._find()
            if pool is None or not pool.isActive():
                return None
            try:
                return pool.storageVolLookupByName(name)
            except libvirt.libvirtError as error:
                if error.get_error_code() in NOT_FOUND:
                    return None
                raise

    def _find(self) -> libvirt.virStoragePool | None:
        return if_exists(self._get)

    def _get(self) -> libvirt.virStoragePool:
        return self._connection.get().storagePoolLookupByName(self._name)

    def _check_path(self, pool: libvirt.virStoragePool) -> None:
        path = ET.fromstring(pool.XMLDesc()).findtext("target/path")  # noqa: S314 - libvirt's answer
        if path != str(self._path):
            raise HostNotReadyError(
                f"there is another storage pool named {self._name}",
                details=f"it keeps its volumes in {path}; the setting pool_path is {self._path}",
                resolution=f"set pool_path to {path}, or pool to another name, in config.toml",
            )


def _length(volume: libvirt.virStorageVol) -> int:
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _describe(volume: libvirt.virStorageVol) -> Volume:
    _, capacity, allocation = volume.info()
    below = ET.fromstring(volume.XMLDesc()).findtext(  # noqa: S314 - libvirt's own answer
        "backingStore/path"
    )
    return Volume(
        name=volume.name(),
        path=Path(volume.path()),
        size_bytes=int(capacity),
        used_bytes=int(allocation),
        below=Path(below) if below else None,
    )


def _refresh(pool: libvirt.virStoragePool) -> None:
    """Have libvirt notice changes of files, unless it is writing a volume."""
    try:
        pool.refresh(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {
            libvirt.VIR_ERR_INTERNAL_ERROR,  # "pool has asynchronous jobs running"
            libvirt.VIR_ERR_OPERATION_INVALID,
        }:
            raise
