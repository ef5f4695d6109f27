"""A host that departs from production: the suite names what is wrong, and nothing else."""

from fnmatch import fnmatchcase

import pytest
from conftest import differences
from drifts import DRIFTS

pytestmark = pytest.mark.container


@pytest.fixture
def healthy(converged, production):
    """The host as it should be; what a test does to it must be undone by then."""
    yield converged.machine
    assert differences(converged.machine.check(production)) == {}


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


def test_every_kind_of_check_has_a_drift(healthy, production):
    """A kind of check that nothing here can make fail would prove nothing when it passes."""
    kinds = {result.name.partition("/")[0] for result in healthy.check(production)}
    covered = {pattern.partition("/")[0] for drift in DRIFTS for pattern in drift.expected}
    assert kinds - covered == {"boot"}
