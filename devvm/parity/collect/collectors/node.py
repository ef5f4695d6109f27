"""Packages of Node.js that are installed for the whole machine."""

from __future__ import annotations

import glob
import json
import os

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("node",)

#: Where npm installs packages for everybody: Debian's npm, and others.
FOLDERS = ("/usr/local/lib/node_modules", "/usr/lib/node_modules")


def collect(wanted: Wanted, run: Run) -> Found:
    """By `NAME in FOLDER`: `version`."""
    found: Items = {}
    for folder in FOLDERS:
        for file in sorted(
            glob.glob(f"{folder}/*/package.json") + glob.glob(f"{folder}/@*/*/package.json")
        ):
            name = os.path.relpath(os.path.dirname(file), folder)
            with open(file, encoding="utf-8") as text:
                found[f"{name} in {folder}"] = {"version": str(json.load(text).get("version"))}
    return {"node": found}
