"""Disks of VMs, and the volumes that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What a disk is to a VM, by its serial number; the one without is the root. Any other serial is
#: the name of an extra disk, which persists as the data disk does.
ROOT, DATA = "root", "devvm-data"


@dataclass(frozen=True, kw_only=True)
class DomainDisk:
    """A disk as a domain's definition has it."""

    device: str  # the guest's name for it: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk of a VM, with its size."""

    device: str  # the guest's name for it: "vda"
    role: str  # ROOT, DATA, or an extra disk's name
    path: Path
    size_bytes: int  # what the guest sees; 0 where the file is gone
    used_bytes: int  # what its newest layer takes on the host


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of the pool."""

    name: str
    path: Path
    size_bytes: int  # what a guest sees
    used_bytes: int  # what it takes on the host
    below: Path | None  # what it is a layer on
