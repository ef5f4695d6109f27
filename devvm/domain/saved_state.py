"""States of VMs that are kept: snapshots, and what is in the trash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devvm.domain.disk import DomainDisk
from devvm.domain.vm import Metadata


class Purpose(StrEnum):
    """What a VM's earlier state is kept for."""

    SNAPSHOT = "snapshot"
    TRASH = "trash"
    #: By an operation that has not ended; becomes trash, or the VM again.
    PREVIOUS = "previous"


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """A state of a VM that is kept: its disks and its definition, as a domain that never runs.

    Attributes:
        id: Names it; 8 hexadecimal digits.
        purpose: What for.
        label: A snapshot's name; otherwise in words how it came to be kept.
        kept_at: When; ISO 8601, UTC.
        expires_at: From when on it may be deleted for good; None: never.
        uuid: The VM's.
        mac: The VM's, to be given it again.
        consistency: How the disks were brought to rest: `off`, `frozen`, `crash`.
        vm: What devvm knew of the VM.
        disks: The disks as they were.
        whole: Whether the VM can be brought back as it was; otherwise there are disks only.
    """

    id: str
    purpose: Purpose
    label: str
    kept_at: str
    expires_at: str | None
    uuid: str
    mac: str
    consistency: str
    vm: Metadata
    disks: tuple[DomainDisk, ...] = ()
    whole: bool = True

    @property
    def destroyed(self) -> bool:
        """Whether this is a VM that was destroyed, and not an earlier state of one."""
        return self.purpose is Purpose.TRASH and self.label == DESTROYED


#: The label of a destroyed VM in the trash.
DESTROYED = "destroyed"


@dataclass(frozen=True, kw_only=True)
class DomainChange:
    """How a domain is to differ from the definition that it is made from; None: not at all.

    Attributes:
        name: Its name.
        uuid: Its identifier.
        title: A line for people who look with virsh.
        mac: Of its one network card.
        disks: Volumes by role, in place of those that are there.
        facts: What devvm knows of it: a VM's, or of a saved state.
        read_only: Whether its disks can't be written to, so that starting it by hand harms nothing.
        oem_string: The SMBIOS string that systemd reads as a credential.
    """

    name: str | None = None
    uuid: str | None = None
    title: str | None = None
    mac: str | None = None
    disks: Mapping[str, Path] = field(default_factory=dict)
    facts: Metadata | SavedState | None = None
    read_only: bool = False
    oem_string: str | None = None
