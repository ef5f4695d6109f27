"""systemd units: they run, and they will after a boot."""

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import Observation


def test_service_state(check: Check, seen: Observation) -> None:
    unit = seen["units"].get(check.subject[0], {})
    active = unit.get("active", "inactive")  # systemd forgets what is stopped and not needed
    sub = unit.get("sub", "dead")
    if check.expected in ("active", "inactive"):
        equal(check.expected, active)
    elif (active, sub) != ("active", "running"):
        differs("running", f"{active} ({sub})" if "file" in unit else "no such unit")


def test_service_enabled(check: Check, seen: Observation) -> None:
    equal(check.expected, seen["units"].get(check.subject[0], {}).get("file"))
