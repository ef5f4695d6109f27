"""Saved states of VMs: snapshots and trash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devvm.domain.disk import DomainDisk
from devvm.domain.vm import Metadata


class Purpose(StrEnum):
    """Why a state is kept."""

    SNAPSHOT = "snapshot"
    TRASH = "trash"
    #: For an operation in progress; it becomes trash, or the VM again.
    PREVIOUS = "previous"
    #: Of a VM that was made to be copied: a warm box.
    WARM = "warm"
    #: Of a VM that was made to be somebody's, once: a spare.
    SPARE = "spare"


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """A saved state of a VM: its disks and its definition, as a domain that never runs.

    Attributes:
        id: 8 hexadecimal digits.
        purpose: Why it is kept.
        label: A snapshot's name; otherwise why it was saved, in words.
        kept_at: When it was saved.
        expires_at: When it may be deleted for good; None for never.
        uuid: The VM's UUID.
        mac: The VM's MAC address, which a restored VM gets again.
        consistency: How the disks were made consistent: `off`, `frozen`, `crash`.
        vm: The VM's metadata.
        disks: Its disks.
        whole: Whether the whole VM can be restored; otherwise only disks are left.
        fits: Which VMs can be restored from its memory, if it has one; compared as a whole.
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
    fits: str = ""

    @property
    def destroyed(self) -> bool:
        """Whether this is a destroyed VM, rather than an earlier state of one."""
        return self.purpose is Purpose.TRASH and self.label == DESTROYED


#: The label of a destroyed VM in the trash.
DESTROYED = "destroyed"


@dataclass(frozen=True, kw_only=True)
class DomainChange:
    """How to change a domain's definition. None keeps what is there.

    Attributes:
        name: Its name.
        uuid: Its UUID.
        title: A line for people who use virsh.
        mac: The MAC address of its network card.
        disks: Volumes by role, which replace the present ones.
        facts: Its metadata: a VM's or a saved state's.
        read_only: Whether to make its disks read-only, so that starting it by hand does no harm.
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
