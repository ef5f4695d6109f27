"""The groups in which `devvm --help` lists commands."""

from __future__ import annotations

VM = "Your VM"
SAFETY = "Snapshots and trash"
INSIDE = "Access"
FLEET = "Fleet"
HOST = "This host"
