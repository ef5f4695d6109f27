"""What changed between two manifests."""

import pytest

from devvm.parity.differences import text
from devvm.parity.differences.diff import Kind, between
from devvm.parity.production.manifest import Manifest


def of(areas=None, **more):
    return Manifest(areas=areas or {}, **more)


def one(old, new, area="unit", item="x"):
    """The only change of an item's facts."""
    found = between(of({area: {item: old}}), of({area: {item: new}}))
    assert found
    (change,) = found.changes
    return change


def test_the_same():
    facts = {"unit": {"x": {"state": "active", "none": None}}}
    assert not between(of(facts), of(facts, captured="2026-01-31", hosts=("web1",)))
    assert not between(of(), of())


def test_items_added_removed_and_changed_are_in_order():
    old = of({"unit": {"b": {"state": "x"}, "c": {"state": "x"}}, "file": {"/z": {"mode": "0644"}}})
    new = of({"unit": {"a": {}, "c": {"state": "y"}}, "file": {"/z": {"mode": "0600"}}})
    found = between(old, new)
    assert [(c.check, c.kind) for c in found.changes] == [
        ("file/z", Kind.CHANGED),
        ("unit/a", Kind.ADDED),
        ("unit/b", Kind.REMOVED),
        ("unit/c", Kind.CHANGED),
    ]
    assert [c.words() for c in found.changes] == [
        "changed: mode: 0644 -> 0600",
        "added: there",
        "removed: state: x",
        "changed: state: x -> y",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words_"),
    [
        ({}, {"hold": True}, "hold: nothing -> yes"),
        ({"hold": True}, {}, "hold: yes -> nothing"),
        ({"origin": None}, {"origin": "Debian"}, "origin: unknown -> Debian"),
        ({"origin": None}, {}, "origin: unknown -> nothing"),
        ({"workers": 1}, {"workers": True}, "workers: 1 -> yes"),
        ({"value": "1"}, {"value": 1}, "value: '1' -> 1"),
        ({"value": ""}, {"value": " "}, "value: '' -> ' '"),
        ({"value": "a" * 200 + "b"}, {"value": "a" * 200 + "c"}, None),
        ({"bind": ["a", "b"]}, {"bind": ["b", "c"]}, "bind: +c, -a"),
        ({"bind": ["a", "b"]}, {"bind": ["b", "a"]}, "bind: reordered: b, a"),
        ({"bind": ["a", "a"]}, {"bind": ["a"]}, "bind: -a"),
        ({"bind": []}, {"bind": "a"}, "bind: none -> a"),
        ({"d": {"/x": "1", "/y": "1"}}, {"d": {"/x": "2"}}, "d: /x: 1 -> 2, /y: 1 -> nothing"),
        ({"sha256": "ab" * 32}, {"sha256": "cd" * 32}, "sha256: abababababab… -> cdcdcdcdcdcd…"),
    ],
)
def test_facts_in_words(old, new, words_):
    said = one(old, new).words().removeprefix("changed: ")
    if words_ is None:
        assert said.split(" -> ")[0] != said.split(" -> ")[1]
    else:
        assert said == words_


def test_only_the_facts_that_differ_are_told():
    change = one({"a": "1", "b": "2"}, {"a": "1", "b": "3"})
    assert (change.old, change.new) == ({"b": "2"}, {"b": "3"})


def test_texts_have_a_diff():
    change = one(
        {"content": "one\ntwo\n", "sha256": "a"}, {"content": "one\n2\n", "sha256": "b"},
        area="file", item="/etc/x",
    )  # fmt: skip
    assert change.words() == "changed: content differs"
    assert change.diff.splitlines() == [
        "--- a/file/etc/x", "+++ b/file/etc/x", "@@ -1,2 +1,2 @@", " one", "-two", "+2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        ("a\nb\n", "a\nb", "\\ No newline at end of file"),
        ("a\n", "", "-a"),
        ("a\n\x0cb\u2028c\n", "a\n\x0cb\u2028d\n", "+\x0cb\u2028d"),
        ("a\n", "a\r\n", "+a\r"),
    ],
)
def test_ends_of_lines_count(old, new, last):
    assert one({"content": old}, {"content": new}).diff.split("\n")[-1] == last


def test_two_texts_of_an_item_are_told_apart():
    change = one({"content": "a\n", "more": "x\ny"}, {"content": "b\n", "more": "x\nz"})
    assert "--- a/unit/x\n" in change.diff
    assert "--- a/unit/x more\n" in change.diff


def test_what_a_layer_takes_away():
    assert one({"state": "x"}, None).words() == "changed: state: x -> not there"
    assert one(None, {"state": "x"}).words() == "changed: not there -> state: x"
    assert not between(of({"unit": {"x": None}}), of({"unit": {"x": None}}))
    found = between(of({"unit": {}}), of({"unit": {"x": None}}))
    assert found.changes[0].words() == "added: not there"


def test_areas_without_items_count():
    found = between(of({"tls": {}}), of({"cron": {}}))
    assert found.areas == {"tls": Kind.REMOVED, "cron": Kind.ADDED}
    assert found
    assert not found.changes


def test_conditions_of_layers_count():
    found = between(of(only_if=("container",)), of(unless=("engineer", "container")))
    assert found.conditions == {
        "only_if": (("container",), ()),
        "unless": ((), ("container", "engineer")),
    }
    assert not between(of(unless=("engineer", "container")), of(unless=("container", "engineer")))


def test_what_varies_now_is_said_once():
    old = of({"unit": {"x": {"state": "a", "enabled": "b"}, "y": {}}})
    new = of({"unit": {"x": {"enabled": "c"}}}, varies={"unit": {"x": ["state"], "y": ["present"]}})
    found = between(old, new)
    assert [(c.check, c.words()) for c in found.changes] == [("unit/x", "changed: enabled: b -> c")]
    assert [(v.check, v.words()) for v in found.variations] == [
        ("unit/x", "varies now: state"),
        ("unit/y", "varies now: present"),
    ]
    assert [v.words() for v in between(new, old).variations] == [
        "no longer varies: state",
        "no longer varies: present",
    ]


def test_what_varies_in_both_and_is_given_is_compared():
    varies = {"unit": {"x": ["state"]}}
    old, new = ({"unit": {"x": {"state": s}}} for s in "ab")
    assert between(of(old, varies=varies), of(new, varies=varies)).changes


def test_long_lists_are_cut():
    assert text.in_a_line([str(n) for n in range(9)]) == "0, 1, 2, 3, 4, 5, … 9 in all"
    assert text.in_a_line({}) == "none"
    assert text.in_a_line("a\nb") == "2 lines"
    assert text.in_a_line("a\n") == "1 line"
