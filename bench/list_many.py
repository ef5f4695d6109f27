"""How long `devvm list` takes with 10 and with 1,000 VMs.

    python bench/list_many.py [--vms 10 1000] [--runs 7]

The VMs are domains of libvirt's `test` driver, which runs in devvm's own process: no daemon is
asked and nothing is started. Before the driver answers, it reads all domains from a file; that time
is measured by itself, since a libvirt daemon has done so long before.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import libvirt

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from tests.support.libvirt_node import fleet  # noqa: E402

_FOLDERS = ("", "boxes", "ca", "locks", "logs", "vms")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Medians of some runs, in seconds.

    Attributes:
        wall: Elapsed time of the command.
        cpu: Processor time of the command, which other work on the machine hardly changes.
        driver: Elapsed time for the test driver to read its domains, which is part of both.
    """

    wall: float
    cpu: float
    driver: float


def measure(vms: int, runs: int) -> Figures:
    """List that many VMs that many times."""
    with tempfile.TemporaryDirectory(prefix="devvm-bench-") as folder:
        uri, environment = _host(Path(folder), vms)
        argv = [sys.executable, "-m", "devvm", "list"]

        def run() -> None:
            done = subprocess.run(
                argv, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            assert len(done.stdout.splitlines()) == vms + 1

        run()  # compiles what isn't
        taken = [_timed(run) for _ in range(runs)]
        opened = [_timed(lambda: libvirt.open(uri).close()) for _ in range(runs)]
    return Figures(
        wall=statistics.median(wall for wall, _ in taken),
        cpu=statistics.median(cpu for _, cpu in taken),
        driver=statistics.median(wall for wall, _ in opened),
    )


def _host(folder: Path, vms: int) -> tuple[str, dict[str, str]]:
    """A host with these VMs: its libvirt URI, and the environment for devvm."""
    node, state, config = folder / "node.xml", folder / "state", folder / "config.toml"
    node.write_text(fleet(vms, folder))
    for name in _FOLDERS:
        (state / name).mkdir()
        if os.geteuid() == 0:  # as `devvm setup` makes them
            shutil.chown(state / name, group="libvirt")
            (state / name).chmod(0o2770)
    uri = f"test://{node}"
    config.write_text(f'uri = "{uri}"\nstate_dir = "{state}"\npool_path = "{folder}"\n')
    return uri, {**os.environ, "DEVVM_CONFIG": str(config)}


def _timed(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds elapsed, and seconds of processor time of child processes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run()
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--vms", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    print("| VMs | `devvm list` | processor time | of which libvirt's test driver |")
    print("|---|---|---|---|")
    for vms in options.vms:
        found = measure(vms, options.runs)
        print(f"| {vms} | {found.wall:.2f} s | {found.cpu:.2f} s | {found.driver:.2f} s |")


if __name__ == "__main__":
    main()
