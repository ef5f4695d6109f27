"""Problems of a manifest."""

import hashlib
import re

import pytest

from devvm.parity.production import layout
from devvm.parity.production.lint import Secrets, Severity, lint, unused_patterns
from devvm.parity.production.manifest import Manifest, dump
from devvm.parity.production.roles import Roles


def redact(text):
    """Hide what follows `password = ` or `password=`."""
    found = re.findall(r"password ?= ?(\S+)", text)
    return re.sub(r"(password ?= ?)\S+", r"\1{secret}", text), found


SECRETS = Secrets(redact=redact, paths=("*.key",))


def of(areas, **more):
    return Manifest(areas=areas, **more)


def findings(areas, **more):
    manifest = of(areas, **more)
    return lint(dump(manifest), manifest, SECRETS)


def rules(area, item, facts):
    return [f.rule for f in findings({area: {item: facts}})]


def test_a_good_one():
    text = "a\n"
    facts = {"mode": "0644", "content": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert findings({"file": {"/etc/x": facts, "/etc/y": None}, "unit": {}}) == []


def test_an_empty_one():
    assert [f.rule for f in findings({})] == ["empty"]
    assert [f.rule for f in findings({"unit": {}})] == ["empty"]


def test_findings_have_their_place():
    (found,) = findings({"unit": {"a": {"state": "active"}, "b": {"state": "failed (failed)"}}})
    assert (found.check, found.line, found.rule) == ("unit/b", 5, "failed")
    assert found.severity is Severity.WARNING


# Order ---------------------------------------------------------------------------------------

ORDERED = """\
format: 1
areas:
  unit:
    a: {state: active}
    b: {state: active}
"""


def order(text):
    import yaml

    return layout.first_out_of_order(text, Manifest.model_validate(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "text",
    [
        ORDERED,
        "# captured\n#by hand\n\n" + ORDERED,
        ORDERED.replace("    b:", "    # why\n\n    b:"),
        ORDERED + "# end\n",
    ],
)
def test_comments_on_their_own_lines_are_in_order(text):
    assert order(text) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("format: 1\nareas:\n  unit:\n    b: {}\n    a: {}\n", 4),
        (ORDERED + "    a: {state: active}\n", 6),  # a duplicate key
        (ORDERED.replace("a: {state: active}", "a: {state: active} # why"), 4),
        (ORDERED.replace("a: {state: active}", "a:\n      state: active"), 4),
        (ORDERED.replace("format: 1\n", ""), 1),
        (ORDERED.replace("\n", "\r\n"), 1),
        (ORDERED.rstrip("\n"), 5),
        ("varies: {}\n" + ORDERED, 1),
    ],
)
def test_out_of_order(text, line):
    assert order(text) == line


def test_comments_in_a_text_are_text():
    text = dump(of({"file": {"/x": {"content": "# one\n# two\nx # three\n"}}}))
    assert order(text) is None
    assert order(text.replace("# two", "# 2")) is None  # it says so, and is in order
    assert layout.comments_inside(text) == []


def test_comments_that_would_be_lost():
    text = """\
# top
format: 1 # a
areas:
  file:
    /x:
      content: |
        # no
        y # no
    # yes
    /y: {mode: '0644'} # yes
    "#z": {a: ["#"]}
    /w: {content: "a
      # no
      b"} # yes
"""
    assert layout.comments_inside(text) == [2, 9, 10, 14]


def test_rewritten():
    import yaml

    text = "# top\n#bottom\n\nareas:\n  unit:\n    b: {}\n    a: {}\n"
    manifest = Manifest.model_validate(yaml.safe_load(text))
    better = layout.rewritten(text, manifest)
    assert better.startswith("# top\n#bottom\nformat: 1\n")
    assert order(better) is None
    assert Manifest.model_validate(yaml.safe_load(better)) == manifest


# Facts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"mode": 420}, "text"),
        ({"value": True}, "text"),
        ({"version": 1.1}, "text"),
        ({"value": None}, None),
        ({"sha256": ["a"]}, None),
        ({"workers": 2}, None),
        ({"mode": "644"}, "mode"),
        ({"mode": "rwxr"}, "mode"),
        ({"content": "a", "sha256": "b"}, "hash"),
        ({"content": None, "sha256": "b"}, None),
    ],
)
def test_types(facts, rule):
    assert rules("other", "x", facts) == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (None, True), ("0123456789abcdef" * 2, True), ("ab" * 32, False), ("", False),
        ("AB" * 16, False), (1, False), (["ab" * 16], False), ("ab" * 16 + "\n", False),
    ],
)  # fmt: skip
def test_sealed_hashes(value, good):
    assert rules("file", "/x", {"secret": value}) == ([] if good else ["seal"])


def test_secrets_are_found_and_not_repeated():
    areas = {
        "file": {"/x": {"content": "a = b\n  password = hunter2\nc\n"}},
        "cron": {"/y": {"jobs": ["x", "run password = hunter2"]}},
        "unit": {"z": {"drop-ins": {"/d": "password = hunter2"}}},
        "manager": {"environment/DB_password": {"value": "hunter2"}},
        "php-fpm": {"8.2/www/password": {"value": "hunter2"}},
        "setting": {"redis/password": {"value": "hunter2"}},
    }
    found = findings(areas)
    assert [f.check for f in found] == [
        "cron/y", "file/x", "manager/environment/DB_password", "php-fpm/8.2/www/password",
        "setting/redis/password", "unit/z",
    ]  # fmt: skip
    assert {f.rule for f in found} == {"secret"}
    assert all(f.severity is Severity.ERROR and "hunter2" not in f.message for f in found)
    assert found[1].message == "content: a secret: password = {secret}"


def test_secrets_that_are_hidden_are_none():
    assert rules("file", "/x", {"content": "password = {secret}\n"}) == []


def test_files_that_are_secret_as_a_whole():
    assert rules("file", "/etc/ssl/x.key", {"content": "a"}) == ["secret"]
    assert rules("file", "/etc/ssl/x.key", {"content": "a", "package": "x"}) == []
    assert rules("file", "/etc/ssl/x.key", {"secret": None}) == []


def test_what_varies():
    areas = {"unit": {"a": {"state": "x"}, "b": {"state": "x", "file": "y"}}}
    varies = {"unit": {"a": ["present"], "b": ["state"], "c": ["present"]}, "tls": {"1": ["x"]}}
    found = [(f.check, f.rule, str(f.severity)) for f in findings(areas, varies=varies)]
    assert found == [("unit/a", "varies", "error"), ("unit/b", "varies", "warning")]


@pytest.mark.parametrize(
    ("area", "item", "facts", "rule"),
    [
        ("unit", "x", {"state": "failed (Result: x)"}, "failed"),
        ("unit", "x", {"state": "active (running)", "reload": "due"}, "reload"),
        ("package", "x", {"status": "half-configured"}, "package"),
        ("package", "x", {"status": "config-files"}, None),
        ("socket", "tcp/1", {"bind": ["::"], "process": ["mariadbd"]}, "exposed"),
        ("socket", "tcp/1", {"bind": ["0.0.0.0"], "process": ["x", "redis-server"]}, "exposed"),
        ("socket", "tcp/1", {"bind": ["0.0.0.0"], "process": ["nginx"]}, None),
        ("socket", "tcp/1", {"bind": ["127.0.0.1", "own"], "process": ["memcached"]}, None),
        ("socket", "tcp/1", {"bind": None, "process": "memcached"}, None),
        ("file", "/x", {"mode": "0666"}, "writable"),
        ("file", "/x/", {"mode": "0777"}, "writable"),
        ("file", "/x/", {"mode": "1777"}, None),
        ("file", "/x", {"mode": "1777"}, "writable"),
        ("file", "/x", {"mode": "0664"}, None),
        ("user", "x", {"password": "none"}, "password"),
        ("user", "x", {"password": "locked"}, None),
        ("tls", "443", {"protocols": ["TLSv1.1", "TLSv1.2"]}, "tls"),
        ("setting", "mariadb/skip_grant_tables", {"value": "ON"}, "setting"),
        ("setting", "mariadb/skip_grant_tables", {"value": "OFF"}, None),
    ],
)
def test_a_production_that_is_not_well(area, item, facts, rule):
    found = findings({area: {item: facts}})
    assert [f.rule for f in found] == ([rule] if rule else [])
    assert all(f.severity is Severity.WARNING for f in found)


def test_patterns_that_match_nothing():
    roles = Roles(default="base", patterns={"nginx": ("*nginx*", "tls/443"), "old": ("*exim*",)})
    found = unused_patterns(roles, ["unit/nginx.service", "tls/443"])
    assert [f.message for f in found] == ["old: *exim* matches no item"]
    assert len(unused_patterns(roles, [])) == 3
