"""The fleet page: self-contained, and safe from what machines report."""

import re
from dataclasses import replace

import pytest

from devvm.cli.fleet import fleet_serializers
from devvm.domain.vm import VmState
from devvm.html import fleet_report
from devvm.operations.fleet.report import Overview
from tests.support import made_up_fleet
from tests.support.page_reader import Page

HOSTILE = "\"'></script><script>alert(1)</script><img src=x onerror=alert(1)>&lt; {{ 7 * 7 }}"


def html(fleet):
    return fleet_report.render(fleet_serializers.overview(fleet))


def empty():
    return Overview(at=made_up_fleet.AT, vms=(), releases=(), checks=(), rollouts=(), hosts=())


@pytest.fixture(scope="module")
def fleet():
    return made_up_fleet.overview(60)


@pytest.fixture(scope="module")
def page(fleet):
    return Page(html(fleet))


def rows(made):
    """The rows of the list of VMs, as lists of cells."""
    body = re.findall(r"<tbody>(.*?)</tbody>", made, re.DOTALL)[-1]
    return [
        [Page(cell).text() for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr\b.*?</tr>", body, re.DOTALL)
    ]


def test_it_says_it_all_at_the_top(page):
    assert page.classes["verdict"] == [
        "60 VMs: 18 behind the latest release, 8 differ from production"
    ]
    assert made_up_fleet.NEWEST in page.text()
    assert "2026-11-25 20:05 UTC" in page.text()
    tiles = [texts[0] for name, texts in page.classes.items() if name.startswith("tile ")]
    assert "18Behind" in tiles
    assert {"#updates=behind", "#parity=differs", "#updates=pinned"} <= set(page.values("href"))


@pytest.mark.parametrize(
    ("number", "cells"),
    [
        (
            1,
            ["dev1 engineer1", "running", f"{made_up_fleet.NEWEST} latest",
             "matches 2 ahead 2026-11-24 18:01", "", "2.8 GiB", "2 GiB"],
        ),
        (
            14,
            ["dev14 engineer14", "running", f"{made_up_fleet.OLDER} 1 behind",
             "2 differ 2 ahead 2026-11-21 18:14", "", "2.8 GiB", "2 GiB"],
        ),
        (
            17,
            ["dev17 engineer17", "running", f"{made_up_fleet.NEWEST} latest",
             "matches 2 ahead 2026-11-23 18:17",
             "2099-12-04 demo for the sales team on Friday", "4.9 GiB", "2 GiB"],
        ),
        (
            11,
            ["dev11 engineer11", "running", f"{made_up_fleet.NEWEST} latest", "not checked", "",
             "9.8 GiB", "2 GiB"],
        ),
        (
            29,
            ["dev29 engineer29", "running", f"{made_up_fleet.UNKNOWN} not on record",
             "matches 2 ahead 2026-11-21 18:29", "", "4.2 GiB", "2 GiB"],
        ),
        (
            52,
            ["dev52 engineer52", "running",
             f"{made_up_fleet.OLDER} 1 behind ; updates to {made_up_fleet.NEWEST} at next start",
             "matches 2 ahead 2026-11-23 18:52", "", "2.1 GiB", "4 GiB"],
        ),
    ],
)  # fmt: skip
def test_each_vm_has_a_row(fleet, number, cells):
    found = rows(html(fleet))
    assert len(found) == 60
    assert found[number - 1] == cells, "sorted as people count"


def test_what_is_left_of_a_vm_has_a_row_too(fleet):
    one = fleet.vms[0]
    gone = replace(
        one, vm=replace(one.vm, state=VmState.MISSING, metadata=None, lease=None, memory_mib=0),
        standing=replace(one.standing, behind=None, parity=None), used_bytes=None,
    )  # fmt: skip
    half = replace(
        one, vm=replace(one.vm, name="dev2", metadata=replace(one.vm.metadata, ready=False))
    )
    found = rows(html(replace(empty(), vms=(gone, half))))
    assert found[0] == ["dev1", "missing", "-", "not checked", "", "-", "-"]
    assert found[1][1] == "unfinished"


def test_releases_the_newest_first_with_their_changes(page):
    cards = page.classes["card release"]
    names = [made_up_fleet.NEWEST, made_up_fleet.OLDER, made_up_fleet.OLDEST, made_up_fleet.UNKNOWN]
    assert [next(n for n in names if n in card) for card in cards] == names
    first = " ".join(cards[0].split())
    for words in ("Latest", "by pat", "40 VMs", "5 differ", "MariaDB 10.11.6 → 10.11.11"):
        assert words in first
    assert "Retired" in cards[2]
    assert "Not on record" in cards[3]


def test_releases_that_no_vm_has_are_out_of_the_way(fleet):
    old = [replace(r, vms_total=0, vms_matching=0, vms_differing=0) for r in fleet.releases[1:3]]
    made = html(replace(fleet, releases=(fleet.releases[0], *old)))
    assert "2 releases without VMs" in Page(made).text()
    assert made.count('class="card release"') == 3


def test_bars_add_up(fleet):
    made = html(fleet)
    for bar in re.findall(r'<svg class="meter".*?</svg>', made, re.DOTALL):
        parts = re.findall(r'x="([0-9.]+)" width="([0-9.]+)"', bar)
        assert parts
        end = 0.0
        for start, width in parts:
            assert float(start) == pytest.approx(end, abs=0.02)
            end = float(start) + float(width)
        assert end <= 100.02
    assert 'aria-label="Parity: 32 match, 5 differ, 3 not checked"' in made


def test_rollouts_have_their_waves_and_what_became_of_each_vm(page):
    waves = [" ".join(wave.split()) for wave in page.classes["wave"]]
    assert [wave.split()[0] for wave in waves] == ["canary", "50%", "100%", "100%"]
    for words in ("26 done", "1 failed", "3 waiting"):
        assert words in waves[1]
    assert "failed 1 parity: unit/redis-server.service differs; put back" in waves[1]
    groups = page.classes["names"]
    assert "dev6" in groups
    assert "dev8 dev9 dev10" in groups


def test_what_fails_is_named_with_its_vms(page):
    (first, second) = [" ".join(check.split()) for check in page.classes["check"]]
    assert "unit/redis-server.service" in first
    assert "8 VMs" in first
    assert "expected active, found failed" in first
    assert "dev7 dev14 dev21" in first
    assert "dev14 dev28 dev42 dev56" in second
    assert "#check=unit/redis-server.service" in page.values("href")


def test_memory_and_disk_of_the_host(page):
    text = page.text()
    assert "Memory 32 GiB free of 176 GiB" in text
    assert "Disk 420.0 GiB free" in text
    assert "61.0 GiB snapshots and trash" in text


def test_a_fleet_without_anything():
    text = Page(html(empty())).text()
    for words in ("There are no VMs", "No release is on record", "No rollouts yet"):
        assert words in text


def test_a_fleet_where_all_is_well(fleet):
    well = tuple(
        one
        for one in fleet.vms
        if one.standing.behind == 0 and one.standing.parity and one.standing.parity.passed
    )
    page = Page(html(replace(fleet, vms=well)))
    assert page.classes["verdict good"] == [
        "32 VMs: none behind, none known to differ from production"
    ]


def test_hostile_text_stays_text(fleet):
    one = fleet.vms[0]
    facts = replace(
        one.vm.metadata, engineer=HOSTILE, release=HOSTILE, pinned_until="2099-01-01",
        pin_reason=HOSTILE, update_to=HOSTILE,
    )  # fmt: skip
    vm = replace(one, vm=replace(one.vm, name=HOSTILE, metadata=facts))
    record = replace(fleet.releases[0].record, note=HOSTILE, changes=(HOSTILE,), created_by=HOSTILE)
    rollout = made_up_fleet.rollout(HOSTILE, HOSTILE, {HOSTILE: [HOSTILE]}, started_at=HOSTILE)
    progress = replace(rollout.vms[HOSTILE], why=HOSTILE)
    plan = replace(rollout.plan, by=HOSTILE)
    rollout = replace(rollout, plan=plan, vms={HOSTILE: progress})
    check = replace(fleet.checks[0], check=HOSTILE, message=HOSTILE, vms=(HOSTILE,))
    made = html(
        replace(
            fleet, vms=(vm,), checks=(check,), rollouts=(rollout,),
            releases=(replace(fleet.releases[0], release=HOSTILE, record=record),),
            hosts=(replace(fleet.hosts[0], uri=HOSTILE),),
        )
    )  # fmt: skip
    page = Page(made)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not page.values("onerror")
    assert page.text().count(HOSTILE) >= 15


def test_what_can_not_be_seen_is_spelled_out(fleet):
    check = replace(fleet.checks[0], message="\x1b[31mred\u202e\udcff")
    made = html(replace(fleet, checks=(check,)))
    made.encode("utf-8")
    assert r"\x1b[31mred\u202e\udcff" in Page(made).text()


def test_it_is_whole_in_itself_and_runs_nothing_else(fleet, page):
    made = html(fleet)
    for word in ("<link", "src=", "http:", "https:", "@import", "url("):
        assert word not in made
    assert not [link for link in page.values("href") if not link.startswith("#")]
    assert not page.values("style")
    policy = page.values("content")[0]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_links_within_the_page_lead_somewhere(page):
    places = set(page.values("id"))
    plain = {link[1:] for link in page.values("href") if "=" not in link}
    assert plain == {"list", "releases", "rollouts", "checks", "hosts"}
    assert plain <= places


def test_a_fleet_of_five_hundred_is_a_page_of_less_than_a_megabyte():
    made = html(made_up_fleet.overview(500))
    assert len(made.encode()) < 500_000
    assert made.count('<tr data-name="') == 500
