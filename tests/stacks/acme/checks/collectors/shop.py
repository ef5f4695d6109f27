"""What the shop is called."""

from pathlib import Path

AREAS = ("shop",)


def collect(wanted, run):
    """`name`: `value`."""
    lines = Path("/etc/shop.ini").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(" = ", 1) for line in lines)
    return {"shop": {"name": {"value": settings["name"].strip('"')}}}
