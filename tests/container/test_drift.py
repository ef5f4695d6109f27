"""A host that departs from production: the suite reports what is wrong, and nothing else.

Drifts are tried in rounds. If undoing one leaves something behind, the next round or the last test
reports it.
"""

import pytest

from tests.container.conftest import differences
from tests.container.drifts import DRIFTS
from tests.container.rounds import Rounds

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def report(converged, production):
    """The report on the undamaged host."""
    return converged.machine.check(production)


@pytest.fixture(scope="module")
def rounds(converged, production, report, request):
    """The selected drifts, on the undamaged host."""
    assert differences(report) == {}
    machine = converged.machine
    wanted = {
        item.callspec.params["drift"].name
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    return Rounds(
        drifts=[drift for drift in DRIFTS if drift.name in wanted],
        run=lambda script: machine.sh(script, timeout=300),
        look=lambda: differences(machine.check(production)),
    )


@pytest.mark.parametrize("drift", [pytest.param(drift, id=drift.name) for drift in DRIFTS])
def test_a_drift_is_reported_by_the_checks_concerned(rounds, drift):
    verdict = rounds.verdict(drift)
    assert (verdict.unconcerned, verdict.silent) == ({}, ())


def test_when_all_are_undone_the_report_is_clean(converged, production):
    assert differences(converged.machine.check(production)) == {}


def test_there_are_drifts_of_every_kind_of_check(report):
    """A kind of check that nothing here makes fail proves nothing by passing."""
    kinds = {result.name.partition("/")[0] for result in report}
    covered = {pattern.partition("/")[0] for drift in DRIFTS for pattern in drift.expected}
    assert kinds - covered - {"boot", "extra"} == set()
    assert len(DRIFTS) >= 60
