"""The duration of each phase of a first and a second `devvm create`, as a table for the docs.

    python3 bench/create_phases.py

Creates two VMs, one after the other, with this checkout's devvm, and deletes them permanently. If
there is no box yet, the first one's total includes building it. Each phase's ratio is second to
first, from this run. The table is part of docs/performance.md.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

DEVVM = Path(__file__).resolve().parent.parent / "bin" / "devvm"
NAMES = ("bench1", "bench2")


def devvm(*arguments: str) -> str:
    """Run devvm and return its output. Its progress goes to the terminal."""
    return subprocess.run([DEVVM, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Measure, print, clean up."""
    wall: list[float] = []
    runs: list[dict[str, float]] = []
    try:
        for name in NAMES:
            begun = time.monotonic()
            run = json.loads(devvm("create", name, "--yes", "--json"))["run"]
            wall.append(time.monotonic() - begun)
            runs.append({phase["name"]: phase["seconds"] for phase in run["phases"]})
    finally:
        for name in NAMES:
            subprocess.run([DEVVM, "destroy", name, "--purge", name], check=False)
    print("| phase | first | second | second / first |\n|---|---|---|---|")
    for phase, first in runs[0].items():
        second = runs[1][phase]
        print(f"| {phase} | {first:.1f} s | {second:.1f} s | {second / max(first, 0.01):.2f} |")
    print(f"| whole command | {wall[0]:.0f} s | {wall[1]:.0f} s | {wall[1] / wall[0]:.2f} |")


if __name__ == "__main__":
    main()
