"""The folder that defines production: manifest, layers, roles and waivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from devvm.parity.production import manifest, roles, waivers


@dataclass(frozen=True, kw_only=True)
class Production:
    """The content of the folder.

    Attributes:
        layers: `manifest.yml` and, for development machines, the layers `overlay/*.yml`, by name.
        roles: `roles.yml`: which role is responsible for what.
        waivers: `waivers.yml`: differences that are allowed for a while.
        key: `manifest.key`, never committed: proves that secrets are those of the capture.
    """

    layers: manifest.Layers
    roles: roles.Roles
    waivers: tuple[waivers.Waiver, ...]
    key: bytes | None = field(default=None, repr=False)


def files(folder: Path, overlay: Literal["dev", "none"]) -> tuple[Path, ...]:
    """The manifest and its layers that exist, the lowest first."""
    found = [folder / "manifest.yml"]
    if overlay == "dev":
        found += sorted((folder / "overlay").glob("*.yml"))
    return tuple(file for file in found if file.is_file())


def load(folder: Path, overlay: Literal["dev", "none"]) -> Production:
    """Read a folder. All files are optional.

    Raises:
        ManifestError: a manifest or `roles.yml` is invalid.
        WaiverError: `waivers.yml` is invalid.
    """
    allowed = folder / "waivers.yml"
    return Production(
        layers=manifest.load_all(files(folder, overlay)),
        roles=roles.load(folder / "roles.yml"),
        waivers=waivers.load(allowed) if allowed.is_file() else (),
        key=_key(folder / "manifest.key"),
    )


def _key(file: Path) -> bytes | None:
    try:
        return file.read_bytes().strip() if file.is_file() else None
    except OSError as error:
        raise manifest.ManifestError(f"{file} can't be read: {error.strerror}") from None
