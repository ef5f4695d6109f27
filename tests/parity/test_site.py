"""The site as a visitor and its operators see it."""

from typing import Any

import pytest

from devvm.parity.checks.catalogue import REVISION, Check
from devvm.parity.checks.outcome import differs, equal
from devvm.parity.collect.observe import Observation


def test_http_status(check: Check, seen: Observation) -> None:
    equal(check.expected, _answer(check, seen)["status"])


def test_http_header(check: Check, seen: Observation) -> None:
    header = check.subject[1]
    expected = check.expected.replace("{host}", seen["facts"]["fqdn"])
    equal(expected, _answer(check, seen)["headers"].get(header))


def test_http_body(check: Check, seen: Observation) -> None:
    if check.expected not in _answer(check, seen)["body"]:
        differs(f"an answer with {check.expected!r}", "one without")


def test_tls_version(check: Check, seen: Observation) -> None:
    equal(check.expected, seen["certificate"][check.subject[0]]["version"])


def test_tls_trusted(check: Check, seen: Observation) -> None:
    found = seen["certificate"][check.subject[0]]
    if not found["trusted"]:
        differs(f"a trusted certificate for {seen['facts']['fqdn']}", found["error"])


def test_tls_days_left(check: Check, seen: Observation) -> None:
    days = seen["certificate"][check.subject[0]]["days_left"]
    if days is None:
        pytest.skip("the certificate is not trusted, which is a check of its own")
    if days < check.expected:
        differs(f"at least {check.expected} days until it expires", f"{days} days")


def test_healthz(check: Check, seen: Observation) -> None:
    health = seen["http"]["health"]
    if "error" in health:
        differs("a report of /healthz", health["error"])
    found = health["checks"].get(check.subject[0], {"status": "not reported"})
    if found["status"] != "ok":
        differs("ok", found.get("detail") or found["status"])


def test_revision(check: Check, seen: Observation) -> None:
    on_disk = seen["commands"][REVISION]
    health = seen["http"]["health"]
    if "error" in health:
        differs("a report of /healthz", health["error"])
    if on_disk["code"]:
        differs("the name of the code on disk", on_disk["error"])
    equal(on_disk["line"], health["revision"])


def _answer(check: Check, seen: Observation) -> dict[str, Any]:
    answer: dict[str, Any] = seen["http"]["probes"][check.subject[0]]
    if "error" in answer:
        differs("an answer", answer["error"])
    return answer
