"""The manifest: its format, layers, comparing, capturing."""

import datetime
import json
from pathlib import Path

import pytest
import yaml

from devvm.parity.collect import capture
from devvm.parity.collect.capture import Seen
from devvm.parity.differences.compare import Kind, Tokens, compare, extras
from devvm.parity.production import manifest, production, roles
from devvm.parity.production.manifest import Layers, Manifest, ManifestError
from tests.support.reference_stack import REFERENCE

DAY = datetime.date(2026, 11, 25)
NOBODY = Tokens()
HERE = {"container": False, "data_disk": True, "identity": True, "engineer": True}


def load(folder, text):
    file = folder / "m.yml"
    file.write_text(text)
    return manifest.load(file)


# The form


def test_the_published_schema_is_the_format():
    published = Path(__file__).parents[4] / "docs" / "manifest.schema.json"
    assert json.loads(published.read_text()) == manifest.schema()


@pytest.mark.parametrize("overlay", ["dev", "none"])
def test_the_shipped_manifests_are_well_formed(overlay):
    stated = production.load(REFERENCE.production, overlay)
    assert {"package", "unit", "file", "socket", "setting"} <= set(stated.layers.areas())
    assert len(stated.layers.names()) > 2000


def test_a_vm_may_have_its_packages_from_another_mirror_than_production():
    """The mirror is part of the host's configuration (`box.mirror`)."""
    layers = production.load(REFERENCE.production, "dev").layers
    vm = layers.of({"engineer": False, "identity": True, "container": False, "data_disk": True})
    assert set(vm.varying("file", "/etc/apt/sources.list")) == {"content", "sha256"}
    assert vm.areas["file"]["/etc/apt/sources.list"]["mode"] == "0644"


def test_the_shipped_manifests_are_as_a_capture_writes_them():
    for file in production.files(REFERENCE.production, "dev"):
        text = file.read_text()
        comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        body = text.removeprefix(comment)
        assert manifest.dump(manifest.load(file)) == body, file


def test_what_is_written_is_read_again_and_in_one_order(tmp_path):
    areas = {
        "unit": {"b.service": {"state": "active", "drop-ins": {"/b": "1", "/a": "2"}}, "a": {}},
        "file": {"/x": {"content": "a: 1\nb: [\n", "mode": "0644"}, "/gone": None},
    }
    first = Manifest(captured=DAY, hosts=("web1",), areas=areas, varies={"unit": {"a": ["x"]}})
    text = manifest.dump(first, "a comment")
    assert load(tmp_path, text) == first
    turned = {area: dict(reversed(items.items())) for area, items in reversed(areas.items())}
    assert manifest.dump(first.model_copy(update={"areas": turned}), "a comment") == text
    assert "    b.service: {drop-ins: {/a: '2', /b: '1'}, state: active}\n" in text
    assert text.startswith("# a comment\nformat: 1\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file"),
        ("- a", "the file"),
        ("format: 2", "format"),
        ("format: 1\nareas: {Bad Area: {}}", "areas"),
        ("format: 1\nareas: {a: {b: {c: 2026-01-01}}}", "areas.a.b.c"),
        ("format: 1\nonly_if: [sunday]", "only_if.0"),
        ("format: 1\nhsots: []", "hsots"),
        ("format: 1\ncaptured: 2026-13-45", "not YAML"),
        ("format: !!bool x", "not YAML"),
        ("format: !!python/object:os.system {}", "not YAML"),
        ("[", "not YAML"),
    ],
)
def test_a_bad_manifest_is_said_in_a_line(tmp_path, text, said):
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text)
    assert "m.yml" in str(caught.value)
    assert said in str(caught.value)


def test_a_manifest_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(ManifestError, match="No such file"):
        manifest.load(tmp_path / "none.yml")
    (tmp_path / "b.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"b\.yml is not YAML"):
        manifest.load(tmp_path / "b.yml")


# Layers


def test_layers_replace_items_and_take_them_away():
    base = Manifest(areas={"a": {"x": {"v": "1"}, "y": {"v": "1"}, "z": {"v": "1"}}})
    layer = Manifest(only_if=("engineer",), areas={"a": {"x": {"v": "2"}, "y": None}})
    other = Manifest(unless=("data_disk",), areas={"a": {"z": None}})
    layers = Layers([base, layer, other])
    assert layers.of(HERE).areas == {"a": {"x": {"v": "2"}, "z": {"v": "1"}}}
    assert layers.of({**HERE, "engineer": False}).areas == base.areas
    assert layers.names() == [("a", "x"), ("a", "y"), ("a", "z")]


def test_what_varies_may_be_named_by_a_pattern():
    one = Manifest(varies={"certificate": {"our CA *": ["present"], "b": ["sha256"]}})
    assert one.varying("certificate", "our CA 7") == ("present",)
    assert one.varying("certificate", "b") == ("sha256",)
    assert one.varying("file", "b") == ()


# Comparing


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ({"v": "1"}, {"v": "2"}, "v: expected 1, found 2"),
        ({"v": ["a", "b"]}, {"v": []}, "v: expected a, b, found nothing"),
        ({"v": "1"}, {"v": "1", "hold": True}, "hold: expected nothing, found yes"),
        ({"v": "1"}, None, "missing; expected v 1"),
        (None, {"v": "1"}, "not in production; found v 1"),
        ({"package": "a", "mode": "0644"}, {"sha256": "x", "content": "c", "mode": "0644"},
         "expected as packaged by a, found changed"),
    ],
)  # fmt: skip
def test_a_difference_in_words(expected, found, words):
    assert compare(expected, found, NOBODY).words() == words


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"v": "1"}, {"v": "1"}),
        ({"v": None}, {"v": "1"}),  # unknown there
        ({"v": "1"}, {"v": None}),
        ({"mode": "1", "secret": None}, {"mode": "1", "secret": "x"}),
        ({"mode": "1"}, {"mode": "1", "secret": None}),
        ({"package": "a", "content": "1"}, {"package": "a", "content": "2"}),  # another version
        (None, None),
    ],
)
def test_no_difference(expected, found):
    assert compare(expected, found, NOBODY) is None


def test_texts_are_told_by_a_diff():
    difference = compare(
        {"content": "a\nb\nc\n", "sha256": "1"}, {"content": "a\nB\nc\nd\n", "sha256": "2"}, NOBODY
    )
    assert difference.kind is Kind.DIFFERS
    assert difference.words() == "content: 2 lines more, 1 fewer than expected"
    assert "-b\n+B\n" in difference.diff
    without_end = compare({"content": "a\n"}, {"content": "a"}, NOBODY)
    assert "end of the last line" in without_end.words()


def test_a_machines_own_words_are_no_difference():
    tokens = Tokens(host="dev1.devvm.test", engineer="jane")
    expected = {"content": "server {host};\nuser {engineer}\n", "sha256": "of that"}
    found = {"content": "server dev1.devvm.test;\nuser jane\n", "sha256": "of this"}
    assert compare(expected, found, tokens) is None
    # The same word is a login here, and an ordinary word in the manifest.
    assert compare({"v": "jane"}, {"v": "jane"}, tokens) is None
    assert compare({"v": "x"}, {"v": "jane"}, tokens)
    assert "user" in tokens.areas({"user": {"jane": {}}})
    assert tokens.areas({"user": {"jane": {}}, "file": {"jane": {}}}) == {
        "user": {"{engineer}": {}},
        "file": {"jane": {}},
    }


def test_extras_are_told_in_areas_that_the_manifest_speaks_of():
    expected = Manifest(areas={"a": {"x": {"v": "1"}}}, varies={"a": {"tmp*": ["present"]}})
    found = {"a": {"x": {}, "y": {"v": "1"}, "tmp7": {}}, "b": {"z": {}}}
    assert list(extras(expected, found, NOBODY)) == [("a", "y")]


# Capturing


def seen(host, areas, tokens=NOBODY):
    return Seen(host=host, areas=areas, tokens=tokens)


def test_what_hosts_share_is_kept_and_what_differs_is_said():
    one = {
        "a": {"x": {"v": "1", "w": "1"}, "y": {"v": "1"}},
        "f": {"/c": {"content": "1", "sha256": "1", "mode": "1"}},
    }
    two = {
        "a": {"x": {"v": "1", "w": "2"}},
        "f": {"/c": {"content": "2", "sha256": "2", "mode": "1"}},
    }
    merged = capture.merge([seen("web1", one), seen("web2", two)], day=DAY)
    assert merged.hosts == ("web1", "web2")
    assert merged.areas == {"a": {"x": {"v": "1"}}, "f": {"/c": {"mode": "1"}}}
    assert merged.varies == {
        "a": {"x": ["w"], "y": ["present"]},
        "f": {"/c": ["content", "sha256"]},
    }


def test_what_varied_before_goes_on_varying():
    before = Manifest(varies={"a": {"x": ["v"], "t*": ["present"]}}, only_if=("engineer",))
    merged = capture.merge(
        [seen("web1", {"a": {"x": {"v": "1", "w": "1"}, "t7": {"v": "1"}}})],
        day=DAY,
        previous=before,
    )
    assert merged.areas == {"a": {"x": {"w": "1"}}}
    assert merged.varies == before.varies
    assert merged.only_if == ("engineer",)


def test_a_hosts_own_name_is_the_same_on_all():
    hosts = [
        seen(f"web{n}", {"f": {"/c": {"content": f"name web{n}.x.org\n", "sha256": str(n)}}},
             Tokens(host=f"web{n}.x.org"))
        for n in (1, 2)
    ]  # fmt: skip
    merged = capture.merge(hosts, day=DAY)
    assert merged.areas["f"]["/c"]["content"] == "name {host}\n"
    assert merged.varies == {}


def test_secrets_are_sealed_with_a_key_or_left_out():
    areas = {"f": {"/k": {"mode": "1", "secret": "ab12"}}}
    one, other = capture.seal(areas, b"k1"), capture.seal(areas, b"k2")
    assert one != other
    assert "ab12" not in json.dumps(one)
    assert one == capture.seal(areas, b"k1")
    assert capture.unsealed(areas) == {"f": {"/k": {"mode": "1", "secret": None}}}
    left = capture.without_secrets(Manifest(areas=one))
    assert left.areas == {"f": {"/k": {"mode": "1", "secret": None}}}


def test_hosts_with_different_secrets_are_told_without_the_secrets():
    hosts = [
        seen(name, capture.seal({"f": {"/k": {"mode": "1", "secret": value}}}, b"k"))
        for name, value in (("web1", "a"), ("web2", "b"))
    ]
    assert capture.merge(hosts, day=DAY).varies == {"f": {"/k": ["secret"]}}


def test_a_layer_has_only_what_is_other():
    base = Manifest(areas={"a": {"x": {"v": "1"}, "y": {"v": "1"}}}, varies={"a": {"z": ["v"]}})
    found = Manifest(areas={"a": {"x": {"v": "2"}, "n": {"v": "1"}}, "b": {"o": {}}})
    assert capture.over(base, found).areas == {
        "a": {"n": {"v": "1"}, "x": {"v": "2"}, "y": None},
        "b": {"o": {}},
    }


def test_texts_of_packages_can_be_left_out():
    found = Manifest(areas={"f": {"/p": {"package": "a", "content": "x"}, "/o": {"content": "y"}}})
    assert capture.without_packaged_contents(found).areas == {
        "f": {"/p": {"package": "a"}, "/o": {"content": "y"}}
    }


# Who answers


def test_the_first_role_that_matches_answers(tmp_path):
    (tmp_path / "r.yml").write_text("default: base\nroles: {a: ['x/*'], b: ['*']}\n")
    found = roles.load(tmp_path / "r.yml")
    assert (found.of("x", "1"), found.of("file", "/x")) == ("a", "b")
    assert roles.Roles(default="base").of("x", "1") == "base"
    (tmp_path / "r.yml").write_text(yaml.safe_dump({"roles": {}}))
    with pytest.raises(ManifestError, match=r"r\.yml: default"):
        roles.load(tmp_path / "r.yml")
