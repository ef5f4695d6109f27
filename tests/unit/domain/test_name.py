"""The rules for VM names."""

import pytest

from devvm.domain.errors import ExitCode, UsageError
from devvm.domain.name import validate_name, validate_new_name


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


@pytest.mark.parametrize("name", ["root", "git", "vagrant", "localhost", "www-data"])
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
