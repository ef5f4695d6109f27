"""Python packages: Debian's, pip's, and those in virtual environments of applications."""

from __future__ import annotations

import glob
import os
import re

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Run, Wanted

AREAS = ("python",)

#: Where Debian and pip install packages, and where applications have virtual environments.
FOLDERS = (
    "/usr/local/lib/python3*/dist-packages",
    "/usr/local/lib/python3*/site-packages",
    "/opt/*/lib/python3*/site-packages",
    "/opt/*/*/lib/python3*/site-packages",
    "/srv/*/lib/python3*/site-packages",
    "/srv/*/*/lib/python3*/site-packages",
    "/root/.local/lib/python3*/site-packages",
    "/var/lib/*/.local/lib/python3*/site-packages",
    "/usr/lib/python3/dist-packages",
)
_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(-py3.*)?\.(dist|egg)-info")


def collect(wanted: Wanted, run: Run) -> Found:
    """By `NAME in FOLDER`: `version`."""
    found: dict[str, set[str]] = {}
    for pattern in FOLDERS:
        for folder in sorted(glob.glob(pattern)):
            for entry in os.listdir(folder):
                match = _NAME.fullmatch(entry)
                if match:
                    name = match["name"].lower().replace("_", "-")
                    found.setdefault(f"{name} in {folder}", set()).add(match["version"])
    return {"python": {item: {"version": ", ".join(sorted(v))} for item, v in found.items()}}
