"""Configuration: the files parse, and the running servers and the kernel have the settings."""

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import NotObservedError, Observation


def test_config(check: Check, seen: Observation) -> None:
    complaint = seen["configs"][check.subject[0]]
    if complaint is not None:
        differs("a configuration that parses", complaint)


def test_setting(check: Check, seen: Observation) -> None:
    server, name = check.subject
    found = seen["settings"][server]
    if "error" in found:
        raise NotObservedError(f"not observed: {found['error']}")
    equal(check.expected, found["values"].get(name))


def test_sysctl(check: Check, seen: Observation) -> None:
    equal(check.expected, seen["sysctls"][check.subject[0]])
