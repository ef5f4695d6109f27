"""Waivers that still hold."""

import datetime

import pytest

from devvm.parity.checks.catalogue import Check
from devvm.parity.checks.outcome import differs
from devvm.parity.collect.observe import Observation


def test_waiver(check: Check, seen: Observation) -> None:
    waiver, matches = check.expected
    if not waiver.concerns(seen["facts"]["fqdn"]):
        pytest.skip(f"of other machines: {', '.join(waiver.machines)}")
    # What should not be there has no check of its own until it is.
    if not matches and not any(map(waiver.matches, seen.names())):
        differs("a check of this name", "none")
    if waiver.expired(datetime.datetime.now(tz=datetime.UTC).date()):
        differs("a waiver that still holds", f"one that ended {waiver.until} ({waiver.owner})")
