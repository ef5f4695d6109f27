"""The port for setting up a host. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from devvm.ports.services import Detail


class SetupStep(Protocol):
    """One thing that a host must have. Applying it again is safe, in any state of the host."""

    @property
    def key(self) -> str:
        """Its stable name, which is part of the JSON output."""

    @property
    def title(self) -> str:
        """The text shown while it is applied: "Installing system packages"."""

    @property
    def optional(self) -> bool:
        """Whether devvm works without it."""

    @property
    def needed_only_to_create(self) -> bool:
        """Whether only creating VMs needs it; existing ones can be shown and run without it."""

    def missing(self) -> list[str]:
        """What `apply` would do, one line each; empty if there is nothing to do. Cheap."""

    def apply(self, detail: Detail, log: Path) -> None:
        """Do it, through sudo unless this process is root."""
