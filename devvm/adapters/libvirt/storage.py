"""devvm's storage pool and its volumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt.connection import NOT_FOUND, Connection, translated
from devvm.errors import HostNotReadyError, OperationError

_MIB = 1024**2


def pool_xml(name: str, path: Path) -> str:
    """A pool that is a folder; others may pass through it, as QEMU runs as a user of its own."""
    pool = ET.Element("pool", type="dir")
    ET.SubElement(pool, "name").text = name
    target = ET.SubElement(pool, "target")
    ET.SubElement(target, "path").text = str(path)
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = "0711"
    return ET.tostring(pool, encoding="unicode")


def volume_xml(name: str, capacity: int, *, mode: str) -> str:
    """An empty qcow2 volume; the upload replaces its content whole."""
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", unit="bytes").text = str(capacity)
    ET.SubElement(volume, "allocation", unit="bytes").text = "0"
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type="qcow2")
    permissions = ET.SubElement(target, "permissions")
    ET.SubElement(permissions, "mode").text = mode
    return ET.tostring(volume, encoding="unicode")


class Storage:
    """One storage pool.

    Args:
        connection: The host.
        name: The pool's name.
        path: Where it keeps its volumes.
    """

    def __init__(self, connection: Connection, name: str, path: Path) -> None:
        self._connection = connection
        self._name = name
        self._path = path

    def ensure(self) -> None:
        """Make the pool if it is not there, start it, have it start with the host.

        Raises:
            HostNotReadyError: a pool of this name keeps its volumes somewhere else.
        """
        with translated(f"the storage pool {self._name} can't be made", resolution="devvm setup"):
            pool = self._find()
            if pool is None:
                connection = self._connection.get()
                pool = connection.storagePoolDefineXML(pool_xml(self._name, self._path))
            else:
                self._check_path(pool)
            if not pool.isActive():
                pool.build(0)  # its folder, where that is not there
                pool.create(0)
            if not pool.autostart():
                pool.setAutostart(1)
            _refresh(pool)

    def free_bytes(self) -> int:
        """Space left in the pool, or, before it is made, where it will be."""
        with translated(f"the storage pool {self._name} can't be read", resolution="devvm setup"):
            pool = self._find()
            if pool is not None and pool.isActive():
                return int(pool.info()[3])
        existing = next(p for p in (self._path, *self._path.parents) if p.exists())
        return shutil.disk_usage(existing).free

    def exists(self, name: str) -> bool:
        """Whether there is a volume of this name."""
        return self._volume(name) is not None

    def names(self, prefixes: tuple[str, ...]) -> list[str]:
        """The volumes whose names begin with one of `prefixes`."""
        with translated(f"the storage pool {self._name} can't be read"):
            pool = self._find()
            if pool is None or not pool.isActive():
                return []
            return sorted(name for name in pool.listVolumes() if name.startswith(prefixes))

    def size(self, path: Path) -> tuple[int, int]:
        """Bytes that a volume offers, and bytes that it takes."""
        with translated(f"the size of {path} can't be read"):
            _, capacity, allocation = (
                self._connection.get().storageVolLookupByPath(str(path)).info()
            )
            return int(capacity), int(allocation)

    def remove(self, name: str) -> None:
        """Delete a volume for good; nothing where it is gone."""
        volume = self._volume(name)
        if volume is not None:
            with translated(f"the volume {name} can't be deleted"):
                volume.delete(0)

    def upload(
        self, name: str, source: Path, detail: Callable[[str], None], *, mode: str = "0600"
    ) -> Path:
        """Put a qcow2 file into the pool, whole or not at all; the volume's path.

        A volume grows as it is filled, so one that is as long as its source is whole, and a
        shorter one is what a killed upload left: it is replaced, if nothing uses it.

        Raises:
            OperationError: the upload failed, or another volume of this name is in use.
        """
        size = source.stat().st_size
        with translated(f"the volume {name} can't be filled", resolution="look at the disk space"):
            volume = self._volume(name)
            if volume is not None and _length(volume) != size:
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

    def overlays(self, name: str) -> set[str]:
        """The files of a volume and of everything that is based on it."""
        with translated(f"the storage pool {self._name} can't be read"):
            base = self._volume(name)
            if base is None:
                return set()
            backing = {v.path(): _backing(v.XMLDesc()) for v in self._get().listAllVolumes()}
        family = {str(base.path())}
        while grown := {path for path, below in backing.items() if below in family} - family:
            family |= grown
        return family

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
            raise OperationError(f"the volume {volume.name()} was not filled whole")

    def _refuse_if_used(self, name: str) -> None:
        if len(self.overlays(name)) > 1:
            raise OperationError(
                f"the volume {name} is not the present image of its box, and VMs are based on it",
                details="the box was built anew under the same name, or the volume was damaged",
                resolution="destroy the VMs that use it, or build the box under a new release",
            )

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
        try:
            return self._get()
        except libvirt.libvirtError as error:
            if error.get_error_code() in NOT_FOUND:
                return None
            raise

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


def _backing(xml: str) -> str | None:
    return ET.fromstring(xml).findtext("backingStore/path")  # noqa: S314 - libvirt's own answer


def _refresh(pool: libvirt.virStoragePool) -> None:
    """See what changed behind libvirt's back; not while it is filling a volume."""
    try:
        pool.refresh(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {
            libvirt.VIR_ERR_INTERNAL_ERROR,  # "pool has asynchronous jobs running"
            libvirt.VIR_ERR_OPERATION_INVALID,
        }:
            raise
