"""Where the time of `devvm create` goes, as a table for docs/performance.md.

    python3 bench/create_phases.py
    python3 bench/create_phases.py --other CHECKOUT --release RELEASE

Creates two VMs and deletes them permanently. Without options both are made with this checkout: a
first VM, for which a box may have to be built, and a second. With another checkout it makes one VM
there, of a box that is built already, and one here, both of the same host and minutes. The ratio of
each phase is the second column's to the first's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def create(checkout: Path, name: str, release: str | None) -> tuple[float, dict[str, float]]:
    """Create a VM with a checkout's devvm and this Python; return wall clock and phases."""
    begun = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "devvm", "create", name, "--yes", "--json"),
            *(["--release", release] if release else []),
        ],
        cwd=checkout,  # where -m looks first
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"devvm create failed in {checkout}")
    run = json.loads(done.stdout)["run"]
    return time.monotonic() - begun, {p["name"]: p["seconds"] for p in run["phases"]}


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, help="another checkout, measured first")
    parser.add_argument("--release", help="the release of the other checkout's box")
    options = parser.parse_args()
    other = options.other.resolve() if options.other else HERE
    labels = ("other", "this") if options.other else ("first", "second")
    runs = []
    try:
        runs.append(create(other, "bench1", options.release))
        runs.append(create(HERE, "bench2", None))
    finally:
        for name in ("bench1", "bench2"):
            subprocess.run(
                [sys.executable, "-m", "devvm", "destroy", name, "--purge", name, "--yes"],
                cwd=HERE,
                check=False,
            )
    print(f"| phase | {labels[0]} | {labels[1]} | ratio |\n|---|---|---|---|")
    (wall_a, a), (wall_b, b) = runs
    for phase in (name for name in a if name in b):
        ratio = b[phase] / max(a[phase], 0.01)
        print(f"| {phase} | {a[phase]:.1f} s | {b[phase]:.1f} s | {ratio:.2f} |")
    print(f"| whole command | {wall_a:.0f} s | {wall_b:.0f} s | {wall_b / wall_a:.2f} |")


if __name__ == "__main__":
    main()
