"""Waivers: what they allow, when they fail themselves, and how to write one."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from devvm.config import Config
from devvm.domain.errors import OperationError, UsageError
from devvm.operations.production.waivers import Waiver, waive
from devvm.parity.production import waivers
from tests.support.reference_stack import REFERENCE
from tests.unit.parity_bench import run_suite

TODAY = datetime.now(UTC).date()
GOOD = """
- check: sysctl/*
  machines: [dev1, "test-*"]
  reason: little memory
  owner: platform
  until: 2999-01-31
"""
KNOWN = ("unit/nginx.service", "sysctl/vm.overcommit_memory", "sysctl/vm.swappiness")


def load(folder, text):
    file = folder / "waivers.yml"
    file.write_text(text)
    return waivers.load(file)


def test_the_shipped_file_is_well_formed():
    assert waivers.load(REFERENCE.production / "waivers.yml") == ()


def test_it_covers_the_checks_and_machines_that_it_names(tmp_path):
    (one,) = load(tmp_path, GOOD)
    assert one.covers("sysctl/vm.swappiness", "dev1.devvm.test")
    assert one.covers("sysctl/vm.swappiness", "test-7.devvm.test")
    assert not one.covers("sysctl/vm.swappiness", "dev10.devvm.test")
    assert not one.covers("unit/nginx.service", "dev1.devvm.test")


def test_its_last_day_is_the_last(tmp_path):
    (one,) = load(tmp_path, GOOD.replace("2999-01-31", "2026-11-25"))
    assert not one.expired(date(2026, 11, 25))
    assert one.expired(date(2026, 11, 26))
    assert waivers.find([one], "sysctl/a", "dev1", date(2026, 11, 25)) is one
    assert waivers.find([one], "sysctl/a", "dev1", date(2026, 11, 26)) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (GOOD.replace("reason: little memory", "reason: ''"), "0.reason"),
        (GOOD.replace("owner: platform", ""), "0.owner"),
        (GOOD.replace("2999-01-31", "soon"), "0.until"),
        (GOOD.replace("check: sysctl/*", "cheek: sysctl/*"), "0.check"),
        (GOOD.replace('[dev1, "test-*"]', "[]"), "0.machines"),
        ("check: a", "the file"),
        ("- [", "waivers.yml"),
    ],
)
def test_a_bad_file_is_said_with_its_key(tmp_path, text, key):
    with pytest.raises(waivers.WaiverError) as caught:
        load(tmp_path, text)
    assert "waivers.yml" in str(caught.value)
    assert key in str(caught.value)


def test_a_broken_file_is_a_usage_error(tmp_path):
    done, results = run_suite(tmp_path, waivers="- check: a\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "0.reason" in done.stderr
    assert not results


# Writing one


def wanted(**changes):
    facts = {"check": "sysctl/vm.*", "reason": "little memory", "owner": "jané", "until": TODAY}
    return Waiver(**{**facts, **changes})


def test_a_waiver_is_added_below_what_is_there(tmp_path):
    file = tmp_path / "waivers.yml"
    file.write_text(f"# ours\n{GOOD.strip()}")
    assert waive(file, wanted(machines=("dev1",)), KNOWN, TODAY) == KNOWN[1:]
    assert file.read_text().startswith(f"# ours\n{GOOD.strip()}\n")
    first, second = waivers.load(file)
    assert first.owner == "platform"
    assert second == waivers.Waiver(
        check="sysctl/vm.*", machines=("dev1",), reason="little memory", owner="jané", until=TODAY
    )


ONE = "check: unit/nginx.service\n{0}reason: ours\n{0}owner: jane\n{0}until: 2999-01-31"
INDENTED = f"""\
# ours

  - {ONE.format("    ")}  # a long time

  # the second
  - check: "sysctl/*"
    machines:
      - dev1
    reason: >-
      little
      memory
    owner: platform
    until: 2999-01-31  # the end
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[]\n",
        "# ours\n\n[]  # none yet\n# last\n",
        "# ours\n",
        "# ours\n---\n# none\n",
        "null\n",
        "- " + ONE.format("  "),
        f"- {ONE.format('  ')}\n...\n",
        f"# first\n---  # here\n# ours\n-   {ONE.format('    ')}  # why\n# last\n...\n# after\n",
        INDENTED,
        f"{INDENTED}...\n",
        f"# flow\n[{{{', '.join(ONE.format('').splitlines())}}}]  # one\n",
        "- &one\n  " + ONE.format("  ") + "\n- <<: *one\n  check: sysctl/*\n",
        GOOD,
    ],
)
def test_a_waiver_is_added_however_the_file_is_written(tmp_path, text):
    file = tmp_path / "waivers.yml"
    before = load(tmp_path, text)
    waive(file, wanted(reason="yes", owner="on: # call"), KNOWN, TODAY)
    *others, added = waivers.load(file)
    assert tuple(others) == before
    assert (added.check, added.reason, added.owner) == ("sysctl/vm.*", "yes", "on: # call")
    written = file.read_text()
    comments = [line[line.index("#") :] for line in text.splitlines() if "#" in line]
    places = [written.index(comment) for comment in comments]
    assert places == sorted(places)
    waive(file, wanted(check="unit/*"), KNOWN, TODAY)
    assert [one.check for one in waivers.load(file)][-2:] == ["sysctl/vm.*", "unit/*"]


def test_how_a_person_indents_is_kept(tmp_path):
    file = tmp_path / "waivers.yml"
    file.write_text(f"-   {ONE.format('    ')}\n")
    waive(file, wanted(), KNOWN, TODAY)
    assert file.read_text().startswith(f"-   {ONE.format('    ')}\n-   check: sysctl/vm.*\n    re")


def test_what_is_there_stays_as_it_is_written(tmp_path):
    file = tmp_path / "waivers.yml"
    file.write_text(INDENTED)
    waive(file, wanted(), KNOWN, TODAY)
    assert file.read_text() == (
        f"{INDENTED}  - check: sysctl/vm.*\n    reason: little memory\n    owner: jané\n"
        f"    until: {TODAY}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "- [",
        "- check: a\n",
        "check: a\n",
        "[]\n---\n[]\n",
        "# ours\n...\n",
        "\0",
        f"- {ONE.format('  ')}\n  check: unit/twice\n",
    ],
)
def test_a_file_that_can_not_be_read_is_left_as_it_is(tmp_path, text):
    file = tmp_path / "waivers.yml"
    file.write_text(text)
    with pytest.raises(UsageError, match="can't add") as caught:
        waive(file, wanted(), KNOWN, TODAY)
    assert caught.value.resolution
    assert file.read_text() == text


def test_the_first_waiver_makes_the_file(tmp_path):
    file = tmp_path / "waivers.yml"
    waive(file, wanted(), KNOWN, TODAY)
    assert waivers.load(file)[0].machines == ("*",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"check": "unit/nginx.servce"}, "there is no check"),
        ({"until": TODAY - timedelta(1)}, "is in the past"),
        ({"reason": " "}, "needs a reason"),
    ],
)
def test_what_would_be_a_failure_at_once_is_refused(tmp_path, changes, said):
    file = tmp_path / "waivers.yml"
    with pytest.raises(UsageError, match=said) as caught:
        waive(file, wanted(**changes), KNOWN, TODAY)
    assert caught.value.resolution
    assert not file.exists()


def test_a_typo_gets_a_suggestion(tmp_path):
    with pytest.raises(UsageError) as caught:
        waive(tmp_path / "w.yml", wanted(check="unit/nginx.servce"), KNOWN, TODAY)
    assert "unit/nginx.service" in caught.value.details


def test_what_should_not_be_there_can_be_waived_before_anybody_sees_it(tmp_path):
    file = tmp_path / "waivers.yml"
    assert waive(file, wanted(check="package/htop"), (*KNOWN, "extra/package"), TODAY) == ()
    assert waivers.load(file)[0].check == "package/htop"


def test_a_file_that_can_not_be_written_is_said():
    with pytest.raises(UsageError, match="can't be written"):
        waive(Path("/proc/waivers.yml"), wanted(), KNOWN, TODAY)


def test_the_suite_lists_its_checks():
    from devvm import wiring

    names = set(wiring.checks_of_the_suite(Config()))
    assert {"unit/nginx.service", "socket/tcp/443", "extra/package", "worker/job"} <= names


def test_a_broken_file_of_waivers_is_said_before_anything_is_checked(tmp_path):
    from devvm import wiring

    (tmp_path / "waivers.yml").write_text("- check: a\n")
    with pytest.raises(OperationError, match="can't be listed") as caught:
        wiring.checks_of_the_suite(Config(production_dir=tmp_path))
    assert "0.reason" in caught.value.details
