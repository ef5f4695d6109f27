"""Things that must work: exporters can be scraped, jobs are done."""

import json
from typing import Any

from devvm.parity.checks.catalogue import Check
from devvm.parity.checks.outcome import differs, equal
from devvm.parity.collect.observe import Observation


def test_metric(check: Check, seen: Observation) -> None:
    exporter, name = check.subject
    answer = seen["http"]["metrics"][exporter]
    if "error" in answer:
        differs("an exporter that answers", answer["error"])
    found = answer["values"].get(name)
    if found is None:
        differs(f"the metric {name}", "none")
    if check.expected is not None:
        equal(check.expected, found)


def test_command(check: Check, seen: Observation) -> None:
    done = seen["commands"][check.subject[0]]
    printed = _printed(done["line"])
    found = {key: printed.get(key) for key in check.expected}
    if found != check.expected:
        differs(_words(check.expected), done["error"] or done["line"] or "nothing printed")


def _printed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _words(expected: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in expected.items())
