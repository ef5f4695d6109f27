"""Shell completion of VM names and releases.

Read-only, fast and silent: offers nothing if the host isn't set up.
"""

from __future__ import annotations

from devvm.domain.errors import DevvmError


def vm_names(incomplete: str) -> list[str]:
    """Names of the VMs on this host."""
    try:
        from devvm import wiring
        from devvm.config import load

        return [name for name in wiring.vm_names(load()) if name.startswith(incomplete)]
    except (DevvmError, ImportError, OSError):  # not set up yet: nothing to offer
        return []


def releases(incomplete: str) -> list[str]:
    """Releases that have a box on this host."""
    try:
        from devvm import wiring
        from devvm.config import load

        return [name for name in wiring.releases(load()) if name.startswith(incomplete)]
    except (DevvmError, ImportError, OSError):
        return []


def recorded(incomplete: str) -> list[str]:
    """Recorded releases, and `latest`."""
    try:
        from devvm import wiring
        from devvm.config import load

        names = ["latest", *wiring.recorded_releases(load())]
        return [name for name in names if name.startswith(incomplete)]
    except (DevvmError, ImportError, OSError):
        return []
