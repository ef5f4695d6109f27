"""What listens: where it should, by whom it should, and nothing else."""

import ipaddress

import pytest

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import Observation


def test_socket_bind(check: Check, seen: Observation) -> None:
    found = sorted({_kind(entry["address"], check) for entry in _listening(check, seen)})
    equal(check.expected["bind"], found)


def test_socket_process(check: Check, seen: Observation) -> None:
    found = sorted({entry["process"] for entry in _listening(check, seen)})
    equal(check.expected["process"], ", ".join(found))


def test_socket_unexpected(check: Check, seen: Observation) -> None:
    facts = seen.conditions
    known = {other.subject for other in check.expected if not other.not_for(facts)}
    extra = sorted(
        f"{entry['protocol']}/{entry['port']} on {entry['address']} by {entry['process']}"
        for entry in seen["sockets"]
        if (entry["protocol"], str(entry["port"])) not in known
    )
    if extra:
        differs("nothing else that listens", "; ".join(extra))


def _listening(check: Check, seen: Observation) -> list[dict[str, str]]:
    protocol, port = check.subject
    found = [
        entry
        for entry in seen["sockets"]
        if entry["protocol"] == protocol and str(entry["port"]) == port
    ]
    if not found and check.expected["optional"]:
        pytest.skip("does not listen now, and need not")
    if not found:
        differs("a listening socket", "none")
    return found


def _kind(address: str, check: Check) -> str:
    """`own` for an address that differs from machine to machine, where that is expected."""
    parsed = ipaddress.ip_address(address)
    if "own" in check.expected.get("bind", ()) and not (
        parsed.is_loopback or parsed.is_unspecified
    ):
        return "own"
    return address
