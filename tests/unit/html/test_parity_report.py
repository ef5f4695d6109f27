"""The page of a verification: self-contained, and safe from what the machine reports."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from devvm.cli import serializers
from devvm.domain.check import CheckResult, Outcome, Report
from devvm.html import parity_report
from tests.support.page_reader import Page

AT = datetime(2026, 11, 25, 20, 5, tzinfo=UTC)
HOSTILE = "\"'></pre></script><script>alert(1)</script><img src=x onerror=alert(1)>&lt; {{ 7 * 7 }}"
DIFF = "--- expected\n+++ found\n@@ -1,3 +1,3 @@\n a\n--- b\n-c\n+++ d\n+e"


def check(name="unit/nginx.service", outcome=Outcome.PASSED, role="nginx", **more):
    return CheckResult(name=name, role=role, outcome=outcome, **more)


def differs(name="unit/nginx.service", outcome=Outcome.FAILED, difference="differs", **more):
    return check(name, outcome, difference=difference, **more)


def html(*checks, vm="dev1", release="2026.11.2", seconds=34.2, at=AT):
    report = Report(vm=vm, release=release, checks=checks, seconds=seconds)
    return parity_report.render(serializers.report(report), generated_at=at)


def page(*checks, **more):
    return Page(html(*checks, **more))


@pytest.fixture
def every():
    return page(
        check("package/bash"),
        differs("unit/a", expected={"state": "active"}, found={"state": "failed"}),
        differs("unit/b", difference="missing", expected={"state": "active"}, found={}),
        differs("unit/c", difference="extra", expected={}, found={"state": "active"}),
        differs("unit/d", difference="extra", expected={}, found={"state": "active"}),
        check("http/healthz/status", Outcome.FAILED, message="expected 200, found 502"),
        check("tls/443/trusted", Outcome.ERROR, message="not observed: connection refused"),
        differs("unit/e", Outcome.WAIVED, waiver="waived until 2027-01-31 by platform: small"),
        differs("package/about", Outcome.AHEAD, expected={"version": "1"}, found={"version": "2"}),
    )


def test_it_says_what_it_is_about(every):
    for words in ("dev1", "2026.11.2", "2026-11-25 20:05 UTC", "34 s", "unit/a"):
        assert words in every.text()


def test_the_time_is_in_utc():
    there = timezone(timedelta(hours=2))
    assert "2026-11-25 18:05 UTC" in page(at=AT.replace(tzinfo=there)).text()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (9.97, "10.0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s")],
)
def test_the_duration_is_in_words(seconds, words):
    assert f"Time taken {words} Checks" in page(seconds=seconds).text()


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ([check(), differs("unit/a", Outcome.WAIVED)], "Matches production"),
        ([differs()], "1 difference from production"),
        ([differs(f"unit/{n}") for n in range(12)], "12 differences from production"),
        ([check(outcome=Outcome.ERROR)], "1 check not observed"),
        (
            [differs(f"unit/{n}") for n in range(1200)] + [check(outcome=Outcome.ERROR)],
            "1,200 differences from production, 1 check not observed",
        ),
        ([], "Nothing was checked"),
    ],
)
def test_the_verdict(checks, words):
    classes = page(*checks).classes
    assert classes.get("verdict", []) + classes.get("verdict good", []) == [words]


def test_every_outcome_is_there_and_counted(every):
    tiles = every.classes["tile"]
    assert tiles == [
        "1Matched", "2Differs", "1Missing", "2Extra", "1Not observed", "1Waived", "1Ahead",
    ]  # fmt: skip
    assert "waived until 2027-01-31 by platform: small" in every.text()
    assert "Waived: differs" in every.text()
    assert "expected 200, found 502" in every.text()
    assert [name.removeprefix("check=") for name in every.values("id") if "check=" in name] == [
        "http/healthz/status", "tls/443/trusted", "unit/a", "unit/b", "unit/c", "unit/d",
        "unit/e", "package/about", "package/bash",
    ]  # fmt: skip


def test_areas_and_roles_are_counted_what_differs_most_first(every):
    text = every.text()
    columns = "Differs Missing Extra Not observed Waived Ahead Matched All"
    assert f"Area {columns} unit 1 1 2 0 1 0 0 5 http 1 0 0 0 0 0 0 1 tls 0 0 0 1" in text
    assert "package 0 0 0 0 0 1 1 2" in text
    assert f"Role {columns} nginx 2 1 2 1 1 1 1 9" in text


@pytest.mark.parametrize("outcome", list(Outcome))
def test_hostile_text_stays_text(outcome):
    hostile = differs(
        f"file/{HOSTILE}",
        outcome,
        role=HOSTILE,
        message=HOSTILE,
        expected={HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
        found={HOSTILE: f"{HOSTILE} "},
        diff=f"--- expected\n+++ found\n@@ -1 +1 @@\n-{HOSTILE}\n+{HOSTILE}!",
        waiver=HOSTILE,
    )
    bare = check(HOSTILE, outcome, role=HOSTILE, message=HOSTILE)
    many = [check(f"{HOSTILE}{n}", outcome, message=HOSTILE) for n in range(3)]
    found = page(hostile, bare, *many, vm=HOSTILE, release=HOSTILE)
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert not found.values("src")
    assert not found.values("onerror")
    assert f"file/{HOSTILE}" in found.text()
    assert f"check=file/{HOSTILE}" in found.values("id")
    assert (f"+{HOSTILE}!" in found.text()) is (outcome is not Outcome.PASSED)


def test_a_link_to_a_check_is_quoted():
    assert "#check=file/a%20%22b%26%25%2B" in page(differs('file/a "b&%+')).values("href")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("nul\x00", r"nul\x00"),
        ("turned\u202e", r"turned\u202e"),
        ("half\udcff", r"half\udcff"),
        ("größer", "größer"),
    ],
)
def test_what_can_not_be_seen_is_spelled_out(text, shown):
    made = html(differs(f"file/{text}", expected={"value": text}, found={text: "x"}, diff=text))
    made.encode("utf-8")
    found = Page(made)
    assert f"file/{shown}" in found.classes["name"]
    assert found.text().count(shown) >= 4
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", made)


def test_it_is_whole_in_itself_and_runs_nothing_else(every):
    made = html(differs())
    assert "<link" not in made
    assert "src=" not in made
    assert "http:" not in made
    assert "https:" not in made
    assert "@import" not in made
    assert "url(" not in made
    assert not [link for link in every.values("href") if not link.startswith("#")]
    assert not [name for attributes in every.attributes for name in attributes if name[:2] == "on"]
    assert not every.values("style")


def test_its_policy_names_its_own_script_and_style():
    made = html(differs(message=HOSTILE))
    policy = Page(made).values("content")[0]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", made, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_same_verification_gives_the_same_page():
    checks = [differs(expected={"b": 1, "a": [1, 2]}, found={"a": [2], "c": {}}), check("unit/z")]
    assert html(*checks) == html(*checks)


def test_lines_of_a_diff_are_marked():
    found = page(differs(expected={"content": "x"}, found={"content": "y"}, diff=DIFF)).classes
    assert found["head"] == ["--- expected\n", "+++ found\n"]
    assert found["hunk"] == ["@@ -1,3 +1,3 @@\n"]
    assert found["same"] == [" a\n"]
    assert found["removed"] == ["--- b\n", "-c\n"]
    assert found["added"] == ["+++ d\n", "+e\n"]
    assert "facts" not in found, "the diff says it"


def facts(expected, found, **more):
    """The rows of the table of facts."""
    made = html(differs(expected=expected, found=found, **more))
    (body,) = re.findall(r'<table class="facts">.*?<tbody>(.*?)</tbody>', made, re.DOTALL)
    return [
        [Page(cell).text() for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


@pytest.mark.parametrize(
    ("expected", "found", "shown"),
    [
        ("0644", "0600", ("0644", "0600")),
        (True, False, ("yes", "no")),
        (None, 5, ("none", "5")),
        ("", 1.5, ("empty", "1.5")),
        ([], {}, ("empty", "empty")),
        (["a", "b"], ["b", 3], ("a b", "b 3")),
        ({"a": True, "b": {"c": [1]}}, {"a": None}, ("a: yes b: c: 1", "a: none")),
        ("4096", 4096, ('"4096"', "4096")),
        ("yes", True, ('"yes"', "yes")),
        ("a ", "a", ('"a "', "a")),
        ("one\ntwo", "x", ("one two", "x")),
    ],
)
def test_facts_are_readable(expected, found, shown):
    assert facts({"fact": expected}, {"fact": found}) == [["fact", *shown]]


def test_members_of_a_list_that_are_on_one_side_only_are_marked():
    made = html(differs(expected={"groups": ["adm", "app"]}, found={"groups": ["app", "sudo"]}))
    assert [Page(mark).text() for mark in re.findall("<mark>.*?</mark>", made)] == ["adm", "sudo"]


def test_facts_of_one_side_only_say_so():
    assert facts({"a": "1"}, {"b": "2"}) == [["a", "1", "not set"], ["b", "not set", "2"]]
    assert facts({"a": "1", "b": "2"}, {}, difference="missing") == [
        ["a", "1", "not on this VM"],
        ["b", "2", ""],
    ]
    assert facts({}, {"a": "1"}, difference="extra") == [["a", "not in production", "1"]]


def test_many_checks_that_fail_to_be_made_for_one_reason_are_one_entry():
    reason = "not observed: settings: Can't connect to server"
    settings = [
        check(f"setting/mariadb/option_{n}", Outcome.ERROR, message=reason) for n in range(900)
    ]
    found = page(*settings, check("setting/redis/save", Outcome.ERROR, message="other"))
    assert len(found.classes["entry"]) == 2
    assert "900 checks, all for the same reason" in found.text()
    assert found.text().count(reason) == 1
    assert "check=setting/mariadb/option_899" in found.values("id")


def test_what_differs_comes_before_what_is_allowed_and_what_matches():
    checks = [
        check("a/passed"),
        differs("b/ahead", Outcome.AHEAD),
        differs("c/waived", Outcome.WAIVED),
        check("d/error", Outcome.ERROR),
        differs("e/failed"),
    ]
    names = page(*checks).classes["name"]
    assert names == ["d/error", "e/failed", "c/waived", "b/ahead", "a/passed"]


def test_a_large_report_stays_small():
    checks = [
        check(f"file/etc/some/folder/of/some/length/{n:04}-part.conf", role="memcached")
        for n in range(2600)
    ]
    made = html(*checks)
    assert len(made.encode()) < 1_000_000
    assert made.count("<li") == 2600
