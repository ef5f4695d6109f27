"""A host that departs from production: the suite names what is wrong, and nothing else.

A drift is undone before the next one is applied, and only the checks of the next one may tell then:
so what an undoing leaves behind is told by the test after it, or by the last one.
"""

from fnmatch import fnmatchcase

import pytest

from tests.container.conftest import differences
from tests.container.drifts import DRIFTS

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def healthy(converged, production):
    """The host as it should be."""
    assert differences(converged.machine.check(production)) == {}
    return converged.machine


@pytest.mark.parametrize("drift", [pytest.param(drift, id=drift.name) for drift in DRIFTS])
def test_a_drift_is_reported_by_the_checks_concerned(healthy, production, drift):
    try:
        healthy.sh(drift.apply)
        found = differences(healthy.check(production))
    finally:
        healthy.sh(drift.undo)
    unconcerned = {
        name: message
        for name, message in found.items()
        if not any(fnmatchcase(name, pattern) for pattern in drift.expected)
    }
    silent = [
        pattern
        for pattern in drift.expected
        if not any(fnmatchcase(name, pattern) for name in found)
    ]
    assert (unconcerned, silent) == ({}, [])


def test_when_all_are_undone_the_report_is_clean(healthy, production):
    assert differences(healthy.check(production)) == {}


def test_there_are_drifts_of_every_kind_of_check(healthy, production):
    """A kind of check that nothing here can make fail would prove nothing when it passes."""
    kinds = {result.name.partition("/")[0] for result in healthy.check(production)}
    covered = {pattern.partition("/")[0] for drift in DRIFTS for pattern in drift.expected}
    assert kinds - covered - {"boot", "extra"} == set()
    assert len(DRIFTS) >= 60
