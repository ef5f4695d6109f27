"""`devvm release ...` with recorded releases and a fleet in memory."""

import re
from dataclasses import replace

import pytest

from devvm.cli import release as command
from devvm.domain.errors import OperationError
from devvm.domain.release.identity import new_release
from tests.support.fleet_world import NEW, ROLE
from tests.support.reference_stack import REFERENCE
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for

HAND = "2026.12.01-cccccccccccc"
KEYS = documented("Release")


@pytest.fixture
def hand(world):
    """A working tree that differs from all recorded releases, and has a box."""
    world.releases.files_in_hand = {**world.releases.stacks[NEW].files, ROLE: b"http2 maybe;\n"}
    for box in world.boxes.boxes:
        if box.content == REFERENCE.content():
            world.boxes.boxes[world.boxes.boxes.index(box)] = replace(box, content="")
    world.boxes.boxes.append(replace(world.box, release=HAND, content=REFERENCE.content()))
    return world


@pytest.fixture
def built(hand, monkeypatch):
    """Build requests; the working tree has no box at first."""
    asked, box = [], hand.boxes.boxes.pop()

    def build_box(session, services, *, newest, yes):
        asked.append((newest, yes))
        hand.boxes.boxes.append(box)

    monkeypatch.setattr(command, "build_box", build_box)
    return asked


def test_create_builds_the_box_where_there_is_none(cli, hand, built):
    result = cli("release", "create", "--note", "  HTTP/2,\n faster ", "--yes")
    assert result.code == 0
    assert built == [(False, True)]
    record = hand.releases.records[HAND]
    assert (record.created_by, record.note) == ("jane", "HTTP/2, faster")
    assert record.previous == NEW
    assert record.changes
    assert record.changes[0] in result.stdout
    assert f"devvm rollout plan {HAND}" in result.stderr


def test_create_needs_no_root_where_the_box_is_there(cli, hand, monkeypatch):
    monkeypatch.setattr(command, "build_box", lambda *_, **__: pytest.fail("built"))
    result = cli("release", "create", "--json")
    assert result.json.keys() == documented_for("release create")
    assert result.json["release"].keys() == KEYS
    assert result.json["new"] is True
    assert HAND in hand.releases.records


def test_create_says_that_production_was_renewed(cli, hand):
    cli("release", "create")
    hand.releases.production_in_hand = "q" * 64
    assert "Updated the release's copy" in cli("release", "create").stderr
    assert hand.releases.production[HAND] == "q" * 64


def test_a_build_that_fails_ends_it(cli, hand, built, monkeypatch):
    def build_box(session, services, *, newest, yes):
        raise OperationError("the box could not be built", resolution="sudo devvm box build")

    monkeypatch.setattr(command, "build_box", build_box)
    assert cli("release", "create").code == 1
    assert HAND not in hand.releases.records


def test_the_list_is_a_table(cli, hand):
    hand.fleet(2)
    cli("release", "create", "--note", "HTTP/2")
    cli("release", "retire", NEW)
    many = tuple(f"change {number}" for number in range(4))
    hand.releases.records[RELEASE] = replace(hand.releases.records[RELEASE], changes=many)
    head, first, second, third = cli("release", "list").stdout.splitlines()
    assert head.split() == ["RELEASE", "AGE", "BY", "VMS", "BOX", "STATE", "NOTE"]
    assert first.split()[0] == HAND
    assert first.split()[-5:] == ["jane", "0", "yes", "current", "HTTP/2"]
    assert re.search(rf"^{NEW} .* yes  retired  nginx: http2 on$", second)
    assert re.search(rf"^{RELEASE} .* 2 +yes +current +change 0, change 1, change 2 …$", third)
    listed = cli("release", "list", "--json").json
    assert listed.keys() == documented_for("release list")
    assert [r["release"] for r in listed["releases"]] == [HAND, NEW, RELEASE]


def test_an_empty_list_says_what_to_type_next(cli, world):
    world.releases.records.clear()
    result = cli("release", "list")
    assert result.stdout == ""
    assert "Next: devvm release create" in result.stderr
    assert cli("release", "list", "--json").json == {"releases": []}


def test_show_tells_all_of_one(cli, world):
    world.fleet(2)
    record = replace(
        world.releases.records[RELEASE], note="HTTP/2", previous=NEW, packages={"nginx": "1.22"}
    )
    world.releases.records[RELEASE] = record
    text = cli("release", "show", RELEASE).stdout
    for part in (RELEASE, "HTTP/2", "by ann", "dev001, dev002", NEW, "nginx: http2 on"):
        assert part in text
    found = cli("release", "show", RELEASE, "--json").json
    assert found.keys() == KEYS | {"packages"}
    assert found["packages"] == {"nginx": "1.22"}
    assert found["changes"] == ["nginx: http2 on"]


def test_show_of_the_first_one_says_so(cli, world):
    text = cli("release", "show", "latest").stdout
    assert NEW in text
    assert "the first recorded release" in text
    assert "Changes" not in text


def test_what_a_note_holds_is_no_command_to_the_terminal(cli, world):
    bad = replace(world.releases.records[NEW], note="[red]x[/red]\x1b[2J", changes=("\x07",))
    world.releases.records[NEW] = bad
    for verb in (("list",), ("show", NEW)):
        text = cli("release", *verb).stdout
        assert "[red]x[/red]" in text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_what_is_not_on_record_is_one_line_and_wrong_usage(cli, world):
    result = cli("release", "show", "2026.11.01-dddddddddddd")
    assert result.code == 2
    assert "Next: devvm release list" in result.stderr
    again = cli("release", "show", "2026.11.01-dddddddddddd", "--json")
    assert again.json["error"]["code"] == "not-found"


@pytest.fixture
def other(world):
    """A release that differs from the first one in a role, a playbook and a package."""
    files = {**world.releases.stacks[NEW].files, "playbooks/site.yml": b"--- # other\n"}
    world.record(HAND, files, {**world.box.packages, "htop": "3.2.2-2"})
    return world


def test_diff_prints_the_words(cli, other):
    found = cli("release", "diff", RELEASE, "latest", "--json").json
    assert found.keys() == documented_for("release diff") - {"name"}
    assert (found["a"], found["b"]) == (RELEASE, HAND)
    assert found["packages"] == [{"name": "htop", "a": None, "b": "3.2.2-2"}]
    assert found["roles"] == ["nginx"]
    assert found["playbooks"] == ["site.yml"]
    assert found["changes"]
    assert cli("release", "diff", RELEASE, HAND).stdout.splitlines() == found["changes"]
    back = cli("release", "diff", HAND, RELEASE, "--json").json
    assert back["packages"] == [{"name": "htop", "a": "3.2.2-2", "b": None}]


def test_a_diff_without_words_says_so(cli, world):
    same = cli("release", "diff", NEW, NEW)
    assert same.stdout == ""
    assert "the same release" in same.stderr
    world.record(HAND, world.releases.stacks[NEW].files, world.box.packages)
    silent = cli("release", "diff", NEW, HAND)
    assert silent.stdout == ""
    assert "no differences that can be described" in silent.stderr


def test_retire_offers_to_remove_the_box(cli, world):
    result = cli("release", "retire", NEW)
    assert result.stdout == f"{NEW} is retired\n"
    assert f"devvm box remove {NEW}" in result.stderr
    assert world.releases.records[NEW].retired_at
    found = cli("release", "retire", NEW, "--json").json
    assert found.keys() == documented_for("release retire")
    assert found["release"].keys() == KEYS


def test_one_that_vms_are_on_is_not_retired(cli, world):
    world.fleet(1)
    refused = cli("release", "retire", RELEASE)
    assert refused.code == 2
    assert "dev001" in refused.stderr
    assert f"devvm rollout start {NEW}" in refused.stderr
    assert world.releases.records[RELEASE].retired_at is None


def test_the_help_shows_examples(cli):
    assert "release" in cli("--help").stdout
    for name in ("create", "list", "show", "diff", "retire", "lock"):
        assert f"Example:  devvm release {name}" in cli("release", name, "--help").stdout


def test_completion_offers_what_is_on_record(tmp_path, monkeypatch):
    from devvm.cli import completion

    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n')
    monkeypatch.setenv("DEVVM_CONFIG", str(config))
    assert completion.recorded("") == ["latest"]
    assert completion.recorded("2026") == []
    damaged = tmp_path / "state" / "releases" / new_release("0123456789ab") / "release.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    assert completion.recorded("") == []
