"""The groups in which `devvm --help` lists commands."""

from __future__ import annotations

VM = "Your VM"
INSIDE = "Inside it"
HOST = "This host"
