"""systemd units: they run, and they will after a boot."""

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import Observation


def test_service_state(check: Check, seen: Observation) -> None:
    unit = seen["units"]["wanted"][check.subject[0]]
    found = f"{unit['active']} ({unit['sub']})"
    if unit["load"] == "not-found":
        found = "no such unit"
    elif unit["load"] == "masked":
        found = f"{found}, masked"
    if check.expected == "running":
        if found != "active (running)":
            differs("running", found)
    elif unit["active"] != check.expected:
        differs(check.expected, found)


def test_service_enabled(check: Check, seen: Observation) -> None:
    equal(check.expected, seen["units"]["wanted"][check.subject[0]]["file"])
