"""`devvm release ...` on the command line."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from devvm.cli import release as command
from devvm.errors import NotFoundError, OperationError
from devvm.fleet.stack import Difference, PackageChange, Release, RoleChange
from devvm.operations import releases
from devvm.operations.releases import Compared, Created, Listed
from devvm.release import content_hash, new_release
from tests.unit.cli.documented import documented, documented_for

OLD, NEW = "2026.11.01-aaaaaaaaaaaa", "2026.11.23-1a2b3c4d5e6f"
RECORD = Release(
    release=NEW,
    created_at="2026-11-23T10:00:00+00:00",
    created_by="jane",
    note="HTTP/2",
    previous=OLD,
    changes=("MariaDB 10.11.6 → 10.11.11", "nginx: http2 on"),
    packages={"nginx": "1.22.1-9"},
)
LISTED = Listed(record=RECORD, vms=("dev1", "dev2"), box=True)
KEYS = documented("Release")


@pytest.fixture
def boxes(services, box):
    """The boxes on this host; a build makes the one of the stack in hand."""
    services.boxes = SimpleNamespace(there=[], list=lambda: services.boxes.there)
    return services.boxes


@pytest.fixture
def built(monkeypatch, boxes, box):
    """What was built."""
    found = []

    def build_box(session, services, *, newest, yes):
        found.append((newest, yes))
        boxes.there.append(replace(box, content=content_hash()))

    monkeypatch.setattr(command, "build_box", build_box)
    return found


@pytest.fixture
def asked(monkeypatch):
    """What `create` was asked for; answers that the release is new."""
    found = []

    def create(services, run, *, by, note, newest):
        found.append((by, note))
        return Created(listed=LISTED, new=True)

    monkeypatch.setattr(releases, "create", create)
    return found


def test_create_builds_the_box_where_there_is_none(cli, built, asked):
    result = cli("release", "create", "--note", "  HTTP/2,\n faster ", "--yes")
    assert result.code == 0
    assert built == [(False, True)]
    assert asked == [("jane", "HTTP/2, faster")]
    assert "nginx: http2 on" in result.stdout
    assert f"devvm rollout plan {NEW}" in result.stderr


def test_create_needs_no_root_where_the_box_is_there(cli, built, boxes, box, asked):
    boxes.there.append(replace(box, content=content_hash()))
    result = cli("release", "create", "--json")
    assert built == []
    assert asked == [("jane", None)]
    assert result.json.keys() == documented_for("release create")
    assert result.json["release"].keys() == KEYS
    assert result.json["new"] is True


def test_create_says_that_production_was_renewed(cli, built, monkeypatch):
    created = Created(listed=LISTED, new=False, production_renewed=True)
    monkeypatch.setattr(releases, "create", lambda *_, **__: created)
    assert "has taken the place" in cli("release", "create").stderr


def test_a_build_that_fails_ends_it(cli, services, boxes, asked, monkeypatch):
    def build_box(session, services, *, newest, yes):
        raise OperationError("the box could not be built", resolution="sudo devvm box build")

    monkeypatch.setattr(command, "build_box", build_box)
    assert cli("release", "create").code == 1
    assert asked == []


def test_the_list_is_a_table(cli, services, monkeypatch):
    plain = Listed(
        record=Release(
            release=OLD, created_at="", created_by="joe", changes=("a 1 → 2", "b", "c", "d"),
            retired_at="2026-11-24T00:00:00+00:00",
        )
    )  # fmt: skip
    monkeypatch.setattr(releases, "list_releases", lambda _: [LISTED, plain])
    head, first, second = cli("release", "list").stdout.splitlines()
    assert head.split() == ["RELEASE", "AGE", "BY", "VMS", "BOX", "STATE", "NOTE"]
    assert first.split()[0] == NEW
    assert first.split()[-5:] == ["jane", "2", "yes", "current", "HTTP/2"]
    assert second.endswith("no   retired  a 1 → 2, b, c …")
    assert [r["release"] for r in cli("release", "list", "--json").json["releases"]] == [NEW, OLD]


def test_an_empty_list_says_what_to_type_next(cli, services, monkeypatch):
    monkeypatch.setattr(releases, "list_releases", lambda _: [])
    result = cli("release", "list")
    assert result.stdout == ""
    assert "Next: devvm release create" in result.stderr
    assert cli("release", "list", "--json").json == {"releases": []}
    assert documented_for("release list") == {"releases"}


def test_show_tells_all_of_one(cli, services, monkeypatch):
    monkeypatch.setattr(releases, "show", lambda _, name: {NEW: LISTED}[name])
    text = cli("release", "show", NEW).stdout
    for part in (NEW, "HTTP/2", "by jane", "dev1, dev2", OLD, "MariaDB 10.11.6 → 10.11.11"):
        assert part in text
    found = cli("release", "show", NEW, "--json").json
    assert found.keys() == KEYS | {"packages"}
    assert found["packages"] == {"nginx": "1.22.1-9"}
    assert found["changes"] == list(RECORD.changes)


def test_show_of_the_first_one_says_so(cli, services, monkeypatch):
    first = Listed(record=Release(release=OLD, created_at="", created_by="joe"))
    monkeypatch.setattr(releases, "show", lambda *_: first)
    text = cli("release", "show", "latest").stdout
    assert "the first one on record" in text
    assert "Brought" not in text


def test_what_a_note_holds_is_no_command_to_the_terminal(cli, services, monkeypatch):
    bad = Release(
        release=OLD, created_at="", created_by="joe", note="[red]x[/red]\x1b[2J", changes=("\x07",)
    )
    monkeypatch.setattr(releases, "list_releases", lambda _: [Listed(record=bad)])
    text = cli("release", "list").stdout
    assert "[red]x[/red]" in text
    assert "\x1b" not in text


def test_what_is_not_on_record_is_one_line_and_wrong_usage(cli, services, monkeypatch):
    def show(services, name):
        raise NotFoundError(f"the release {name} is not on record", resolution="devvm release list")

    monkeypatch.setattr(releases, "show", show)
    result = cli("release", "show", OLD)
    assert result.code == 2
    assert "Next: devvm release list" in result.stderr
    assert cli("release", "show", OLD, "--json").json["error"]["code"] == "not-found"


def test_diff_prints_the_words(cli, services, monkeypatch):
    difference = Difference(
        packages=(PackageChange(name="htop", old=None, new="3.2.2-2"),),
        roles=(RoleChange(role="nginx", changed=("tasks/main.yml",)),),
        playbooks=("site.yml",),
    )
    compared = Compared(
        old=Release(release=OLD, created_at="", created_by="joe"), new=RECORD,
        words=RECORD.changes, difference=difference,
    )  # fmt: skip
    monkeypatch.setattr(releases, "diff", lambda _, a, b: {(OLD, "latest"): compared}[a, b])
    assert cli("release", "diff", OLD, "latest").stdout.splitlines() == list(RECORD.changes)
    found = cli("release", "diff", OLD, "latest", "--json").json
    assert found.keys() == documented_for("release diff") - {"name"}
    assert found == {
        "a": OLD, "b": NEW, "changes": list(RECORD.changes),
        "packages": [{"name": "htop", "a": None, "b": "3.2.2-2"}],
        "roles": ["nginx"], "playbooks": ["site.yml"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "said"), [(RECORD, "one and the same"), (Release(release=OLD, created_at="",
                      created_by=""), "nothing that can be told")]
)  # fmt: skip
def test_a_diff_without_words_says_so(cli, services, monkeypatch, old, said):
    compared = Compared(old=old, new=RECORD, words=(), difference=Difference())
    monkeypatch.setattr(releases, "diff", lambda *_: compared)
    result = cli("release", "diff", OLD, NEW)
    assert result.stdout == ""
    assert said in result.stderr


def test_retire_offers_to_remove_the_box(cli, services, monkeypatch):
    monkeypatch.setattr(releases, "retire", lambda services, name, run: LISTED)
    result = cli("release", "retire", NEW)
    assert result.stdout == f"{NEW} is retired\n"
    assert f"devvm box remove {NEW}" in result.stderr
    found = cli("release", "retire", NEW, "--json").json
    assert found.keys() == documented_for("release retire")
    assert found["release"].keys() == KEYS


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
