"""Disks of VMs, and their volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: The roles of a VM's disks. A disk's serial number is its role; the root disk has none. Any other
#: serial is the name of an extra disk, which is persistent like the data disk.
ROOT, DATA = "root", "devvm-data"
#: Of a volume with the memory of a VM, which a saved state may have beside disks.
MEMORY = "memory"


@dataclass(frozen=True, kw_only=True)
class DomainDisk:
    """A disk in a domain's definition."""

    device: str  # its name in the guest: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A VM's disk, with its size."""

    device: str  # its name in the guest: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path
    size_bytes: int  # as the guest sees it; 0 if the file is gone
    used_bytes: int  # what its top layer takes on the host


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of the storage pool."""

    name: str
    path: Path
    size_bytes: int  # as a guest sees it
    used_bytes: int  # what it takes on the host
    below: Path | None  # the volume it is a layer on
