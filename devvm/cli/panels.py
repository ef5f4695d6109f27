"""The groups in which `devvm --help` lists commands."""

from __future__ import annotations

VM = "Your VM"
SAFETY = "Its past"
INSIDE = "Inside it"
FLEET = "The fleet"
HOST = "This host"
