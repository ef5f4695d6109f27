"""Configuration files parse, as their programs see it."""

from parity.checks import Check
from parity.compare import differs
from parity.observe import Observation


def test_config(check: Check, seen: Observation) -> None:
    complaint = seen["configs"][check.subject[0]]
    if complaint is not None:
        differs("a configuration that parses", complaint)
