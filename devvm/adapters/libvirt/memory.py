"""The memory of running domains, saved in volumes, and restored as other domains."""

from __future__ import annotations

from pathlib import Path

import libvirt

from devvm.adapters.libvirt import definition, save_file
from devvm.adapters.libvirt.connection import Connection, translated
from devvm.adapters.libvirt.volumes import Volumes
from devvm.domain.saved_state import DomainChange


class Memory:
    """Implements `Memory` for one libvirt host.

    Args:
        connection: The connection to the host.
        volumes: The volumes that the memory is saved in.
    """

    def __init__(self, connection: Connection, volumes: Volumes) -> None:
        self._connection = connection
        self._volumes = volumes

    def save(self, fqdn: str, name: str) -> Path:
        """Save a running domain's memory as a volume, which powers it off.

        Raises:
            OperationError: it could not be saved, and the domain runs on; or devvm doesn't
                understand what libvirt wrote.
        """
        path = self._volumes.path_for(name)
        with translated(f"the memory of {fqdn} can't be saved"):
            self._connection.get().lookupByName(fqdn).saveFlags(
                str(path), None, libvirt.VIR_DOMAIN_SAVE_RUNNING
            )
        self._start(path)  # devvm can read it, and the pool has it
        return path

    def definition(self, path: Path) -> str:
        """The definition of the domain whose memory was saved, as it ran.

        Raises:
            OperationError: the volume is gone, or not one that devvm can read.
        """
        return definition.at_rest(self._start(path).xml)

    def restore(self, path: Path, change: DomainChange) -> None:
        """Start a domain, which is defined and off, with a memory that was another domain's.

        libvirt reads the definition from the file, so it is written there first, over that of the
        last restore. The caller makes sure that nobody else restores from the file meanwhile.

        Args:
            path: The volume with the memory.
            change: How the domain differs from the one whose memory was saved.

        Raises:
            OperationError: it could not be restored; the domain is off.
        """
        start = self._start(path)
        xml = definition.changed(definition.at_rest(start.xml), change)
        self._volumes.write_start(path, save_file.changed(start, xml))
        with translated(f"{change.name} can't be restored from {path.name}"):
            self._connection.get().restoreFlags(str(path), None, libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def _start(self, path: Path) -> save_file.Start:
        head = self._volumes.read_start(path, save_file.HEAD)
        return save_file.parse(self._volumes.read_start(path, save_file.length(head)))
