"""The machine as a whole, and its packages."""

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import Observation


def test_booted(check: Check, seen: Observation) -> None:
    if seen["boot"] not in ("running", "degraded"):
        differs("a machine that has finished booting", seen["boot"])


def test_none_failed(check: Check, seen: Observation) -> None:
    if seen["units"]["failed"]:
        differs("no failed unit", sorted(seen["units"]["failed"]))


def test_package(check: Check, seen: Observation) -> None:
    equal("installed", "installed" if check.subject[0] in seen["packages"] else "not installed")
