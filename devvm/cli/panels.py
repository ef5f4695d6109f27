"""The groups in which `devvm --help` lists commands."""

from __future__ import annotations

VM = "Your VM"
SAFETY = "Its past"
INSIDE = "Inside it"
HOST = "This host"
