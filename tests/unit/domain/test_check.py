"""When a verification has passed."""

from devvm.domain.check import CheckResult, Outcome, Report


def test_a_report_without_checks_has_not_passed():
    assert not Report(vm="dev1", release="r", checks=(), seconds=0).passed


def test_a_report_with_an_error_has_not_passed():
    checks = (
        CheckResult(name="a", role="base", outcome=Outcome.PASSED),
        CheckResult(name="b", role="base", outcome=Outcome.ERROR),
    )
    report = Report(vm="dev1", release="r", checks=checks, seconds=0)
    assert not report.passed
    assert [c.name for c in report.failures()] == ["b"]
