"""The rules for VM names."""

from dataclasses import replace

import pytest

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import ExitCode, OperationError, UsageError
from devvm.domain.name import validate_name, validate_new_name
from devvm.domain.vm import Driver, Metadata, Vm, VmState


@pytest.mark.parametrize("name", ["a", "dev1", "jane", "web-01", "a" * 32])
def test_good_names_are_returned(name):
    assert validate_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "../x", "a b", "a;reboot", "x" * 33, "x" * 64, "x" * 5000, "Dev1", "dév", "名前",
        "1dev", "-dev", "dev-", "dev_1", "dev.1", "dev1\n", "$(reboot)", "--help", "\x00", "dev1/",
    ],
)  # fmt: skip
def test_bad_names_say_the_rule_and_a_next_step(name):
    with pytest.raises(UsageError) as caught:
        validate_name(name)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "a-z" in caught.value.details
    assert caught.value.resolution
    assert "\n" not in caught.value.brief
    assert len(caught.value.brief) < 200


@pytest.mark.parametrize("name", ["root", "mysql", "about", "vagrant", "localhost", "www-data"])
def test_reserved_names_say_that_they_are(name):
    with pytest.raises(UsageError, match="reserved"):
        validate_name(name)


@pytest.mark.parametrize("name", ["boxcheck-01234567", "boxcheck-mine"])
def test_no_vm_is_called_as_those_are_that_check_boxes(name):
    with pytest.raises(UsageError, match=f"^'{name}' can't be a VM name: 'boxcheck-' is reserved"):
        validate_new_name(name)
    assert validate_name(name) == name  # an existing one can be looked at and destroyed


@pytest.mark.parametrize("name", ["dev1", "boxcheck", "my-boxcheck-1"])
def test_other_new_names_are_returned(name):
    assert validate_new_name(name) == name


def test_a_new_name_has_to_be_good_too():
    with pytest.raises(UsageError, match="reserved"):
        validate_new_name("root")


@pytest.mark.parametrize(("bad", "suggested"), [("Dev One", "dev-one"), ("Jane_Doe", "jane-doe")])
def test_a_near_miss_is_suggested(bad, suggested):
    with pytest.raises(UsageError) as caught:
        validate_name(bad)
    assert suggested in caught.value.resolution
    assert validate_name(suggested)


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


def test_what_is_left_of_a_vm_says_that_its_domain_is_gone():
    left = Vm(
        name="dev1", fqdn="dev1.test", uuid="", state=VmState.MISSING, driver=Driver.QEMU,
        memory_mib=0, cpus=0, metadata=None, lease=None,
    )  # fmt: skip
    with pytest.raises(OperationError, match="the libvirt domain of dev1 is gone") as caught:
        _ = left.known
    assert caught.value.resolution == "devvm doctor --fix"
    facts = Metadata(name="dev1", engineer="ann", release="r", created_at="")
    assert replace(left, metadata=facts).known is facts
