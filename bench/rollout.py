"""What a rollout costs beside the VMs' own time, and how that grows with the fleet.

The engine, the record on disk and every operation are real. The libvirt host, its guests and
Ansible are those in memory that the unit tests use, with a delay for the time that a VM takes.
Overhead is the elapsed time minus the VMs' own time, counted side by side.

    python bench/rollout.py [--sizes 125 250 500] [--parallel 4 8] [--delay 0.5]
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from devvm.domain.rollout.plan import Terms  # noqa: E402
from devvm.domain.rollout.state import VmState  # noqa: E402
from devvm.domain.run import AnsibleResult  # noqa: E402
from devvm.domain.vm import Target  # noqa: E402
from devvm.operations.rollout import control  # noqa: E402
from devvm.operations.rollout import plan as rollout_plan  # noqa: E402
from devvm.operations.rollout.engine import Rollout  # noqa: E402
from devvm.ports.services import Detail  # noqa: E402
from tests.support.fleet_world import NEW, FleetProvisioner, FleetWorld  # noqa: E402


class _Slow(FleetProvisioner):
    """Takes a while to update a VM."""

    def __init__(self, world: FleetWorld, delay: float) -> None:
        super().__init__(world.host, world)
        self._delay = delay

    def apply(
        self, playbook: str, target: Target, *, variables: Mapping[str, Any], detail: Detail,
        log: Path, tags: Sequence[str] = (),
    ) -> AnsibleResult:  # fmt: skip
        """Sleep, if this is the update."""
        if playbook == "update.yml":
            time.sleep(self._delay)
        return super().apply(
            playbook, target, variables=variables, detail=detail, log=log, tags=tags
        )


def roll_out(size: int, parallel: int, delay: float) -> tuple[float, float]:
    """Elapsed seconds, and the seconds that the VMs themselves need, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        world = FleetWorld(Path(folder), watch_disks=False)
        world.fleet(size)
        world.services = replace(world.services, provisioner=_Slow(world, delay))
        terms = Terms(release=NEW, canary=parallel, parallel=parallel)
        start = time.monotonic()
        plan, _ = rollout_plan.make(world.services, terms, by="bench", today=date(2026, 11, 30))
        with control.started(world.services, plan, command="bench") as log:
            rollout = Rollout(services=world.services, log=log, by="bench",
                              messenger=world.messenger)  # fmt: skip
            rollout.carry_out()
        elapsed = time.monotonic() - start
        assert rollout.ledger.record.counts()[VmState.DONE] == size
        own = sum(math.ceil(len(wave.vms) / parallel) * delay for wave in rollout.plan.waves)
        return elapsed, own


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[125, 250, 500])
    parser.add_argument("--parallel", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--delay", type=float, default=0.5)
    options = parser.parse_args()
    print(f"a VM takes {options.delay} s")
    print("VMs  parallel  elapsed s  VMs' own s  overhead ms/VM  overhead/VM against the first")
    for parallel in options.parallel:
        first = 0.0
        for size in options.sizes:
            elapsed, own = roll_out(size, parallel, options.delay)
            overhead = (elapsed - own) / size * 1000
            first = first or overhead
            print(f"{size:<4} {parallel:<9} {elapsed:<10.1f} {own:<11.1f} {overhead:<15.0f} "
                  f"{overhead / first:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
