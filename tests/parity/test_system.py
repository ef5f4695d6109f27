"""The machine as a whole, and state that must be on the data disk."""

from devvm.parity.checks.catalogue import Check
from devvm.parity.checks.outcome import differs, equal
from devvm.parity.collect.observe import Observation

_DATA = "/data"


def test_booted(check: Check, seen: Observation) -> None:
    if seen["boot"] not in ("running", "degraded"):
        differs("a machine that has finished booting", seen["boot"])


def test_none_failed(check: Check, seen: Observation) -> None:
    seen.require_observed("unit/")
    failed = [
        name
        for name, facts in seen.areas["unit"].items()
        if str(facts["state"]).startswith("failed")
    ]
    if failed:
        differs("no failed unit", sorted(failed))


def test_state_path(check: Check, seen: Observation) -> None:
    """Bound from /data/state, and /data is a disk of its own."""
    path = check.subject[0]
    seen.require_observed("mount/")
    mounts = seen.areas["mount"]
    if _DATA not in mounts:
        differs(f"a data disk at {_DATA}", "none mounted")
    if path not in mounts:
        differs(f"{path} bound from {_DATA}/state{path}", "the root disk's own directory")
    equal(f"/state{path}", mounts[path].get("root"))
