"""What the machine is: each item of the manifest, and nothing beside them."""

from collections.abc import Mapping

import pytest

from devvm.parity.checks.catalogue import Check
from devvm.parity.checks.outcome import judge
from devvm.parity.collect.observe import Observation
from devvm.parity.differences import compare


def test_item(check: Check, seen: Observation, release: Mapping[str, str]) -> None:
    area, item = check.subject
    expected = seen.expected(check.expected)
    facts = expected.areas.get(area, {}).get(item)
    if facts is None:
        pytest.skip("not expected of this machine")
    seen.require_observed(check.name)
    varies = expected.varying(area, item)
    difference = compare.compare(facts, seen.areas[area].get(item), seen.tokens, varies)
    if difference is not None:
        judge({(area, item): difference}, seen.attribution(check.expected, release))


def test_extra(check: Check, seen: Observation, release: Mapping[str, str]) -> None:
    layers, _ = check.expected
    (area,) = check.subject
    seen.require_observed(f"{area}/")
    found = compare.extras(seen.expected(layers), {area: seen.areas[area]}, seen.tokens)
    judge(found, seen.attribution(layers, release))
