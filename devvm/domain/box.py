"""A golden image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devvm.domain.check import MovedPackage


@dataclass(frozen=True, kw_only=True)
class Box:
    """A registered golden image: built, verified, ready to be cloned."""

    release: str
    path: Path  # the .box file
    sha256: str
    built_at: str
    size_bytes: int
    verified: bool
    debian: str
    packages: Mapping[str, str] = field(default_factory=dict)
    image_sha256: str = ""  # of the disk image inside it
    production_sha256: str = ""  # of the production files it was verified against; empty if unknown
    content: str = ""  # the content hash of its stack
    applications: Mapping[str, str] = field(default_factory=dict)  # commits of their code
    stack: str = ""  # its stack's name; empty if an older devvm built it
    moved: tuple[MovedPackage, ...] = ()  # packages that differed from production then

    @property
    def vagrant_name(self) -> str:
        """The name under which Vagrant knows the box."""
        return f"devvm/{self.release}"
