"""Configuration files parse, as their programs see it."""

from devvm.parity.checks.catalogue import Check
from devvm.parity.checks.outcome import differs
from devvm.parity.collect.observe import Observation


def test_config(check: Check, seen: Observation) -> None:
    complaint = seen["configs"][check.subject[0]]
    if complaint is not None:
        differs("a configuration that parses", complaint)
