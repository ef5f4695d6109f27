"""How long `devvm verify` takes with this checkout and with another, as a table for docs.

    python3 bench/verify.py dev1 OTHER_CHECKOUT [--runs 5]

The VM runs already. Both take turns, so that what else the host does meets both alike; the ratio is
this checkout's median to the other's. Checks that fail don't matter here.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def seconds(checkout: Path, name: str) -> float:
    """Wall-clock time of one verification, with this Python."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "devvm", "verify", name, "--quiet", "--json"],
        cwd=checkout,  # where -m looks first
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"devvm verify failed in {checkout}")
    return time.monotonic() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("other", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    checkouts = {"this checkout": HERE, "the other": options.other.resolve()}
    found: dict[str, list[float]] = {label: [] for label in checkouts}
    for checkout in checkouts.values():  # connections are open, files are in memory
        seconds(checkout, options.name)
    for _ in range(options.runs):
        for label, checkout in checkouts.items():
            found[label].append(seconds(checkout, options.name))
    print("| | median | fastest | slowest |\n|---|---|---|---|")
    for label, times in found.items():
        print(
            f"| {label} | {statistics.median(times):.1f} s | {min(times):.1f} s "
            f"| {max(times):.1f} s |"
        )
    here, other = (statistics.median(times) for times in found.values())
    print(f"| ratio | {here / other:.2f} | | |")


if __name__ == "__main__":
    main()
