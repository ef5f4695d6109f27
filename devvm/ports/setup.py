"""What host set-up needs from the world. Protocols only, no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from devvm.ports.services import Detail


class SetupStep(Protocol):
    """One thing that a host must have. Safe to apply again, in any state of the host."""

    @property
    def key(self) -> str:
        """Its stable name, part of the JSON interface."""

    @property
    def title(self) -> str:
        """What a person reads while it is applied: "Installing system packages"."""

    @property
    def optional(self) -> bool:
        """Whether devvm works without it."""

    @property
    def builds_only(self) -> bool:
        """Whether looking at and running VMs works without it; making them does not."""

    def missing(self) -> list[str]:
        """What `apply` would do, a line each; empty where there is nothing to do. Cheap."""

    def apply(self, detail: Detail, log: Path) -> None:
        """Do it, as root by sudo where this process is not root."""
