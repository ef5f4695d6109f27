"""The parity suite's own parts: expectations, checks, the observation; runs of it with pytest."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import types
import zlib

import pytest
import yaml
from parity import checks as catalogue
from parity import observe, schema

from devvm import assets
from devvm.parity import manifest, roles
from tests.unit.parity_bench import INSIDE, SUITE, install_ours, needs_root, run_suite

SHIPPED = SUITE / "expectations"


def load(folder, text, overlay="dev"):
    (folder / "one.yml").write_text(text)
    return catalogue.expand(schema.load(folder, overlay=overlay))


class LocalHost:
    """testinfra's host, as far as the suite uses it: this machine, as whoever we are."""

    def __init__(self, rc=None, stdout=b"", stderr=b""):
        self.rc, self.stdout, self.stderr, self.commands = rc, stdout, stderr, []

    def run(self, command, *args):
        self.commands.append(args)
        if self.rc is not None:
            return types.SimpleNamespace(
                rc=self.rc, stdout_bytes=self.stdout, stderr_bytes=self.stderr
            )
        python = [sys.executable, "-c", *args[1:]]
        done = subprocess.run(python, capture_output=True, check=False)
        return types.SimpleNamespace(
            rc=done.returncode, stdout_bytes=done.stdout, stderr_bytes=done.stderr
        )


NOTHING = catalogue.wanted([])


# Expectations


@pytest.mark.parametrize("overlay", ["dev", "none"])
def test_the_shipped_expectations_are_well_formed(overlay):
    checks = catalogue.expand(schema.load(SHIPPED, overlay=overlay))
    names = [check.name for check in checks]
    assert names == sorted(set(names))
    for name in ("config/nginx/parses", "http/home/status", "site/healthz/database", "worker/job"):
        assert name in names


def test_every_role_of_the_stack_is_named():
    """By its expectations, or by what it answers for in the manifest."""
    named = {one.role for one in schema.load(SHIPPED, overlay="dev")}
    named |= roles.load(assets.production() / "roles.yml").patterns.keys()
    (play,) = yaml.safe_load((assets.playbooks() / "site.yml").read_text())
    assert {entry["role"] for entry in play["roles"]} <= named


def test_every_kind_of_check_has_a_test_and_every_test_a_kind():
    kinds = {
        check.kind
        for overlay in ("dev", "none")
        for check in catalogue.expand(schema.load(SHIPPED, overlay=overlay))
    }
    tests = {
        line.split("(")[0].removeprefix("def test_")
        for file in SUITE.glob("test_*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def test_")
    }
    assert kinds | {"waiver", "item", "extra"} == tests


def test_overlay_chooses_files(tmp_path):
    (tmp_path / "a.yml").write_text("role: a\noverlay: none\nconfigs: [a]\n")
    (tmp_path / "b.yml").write_text("role: b\noverlay: dev\nconfigs: [b]\n")
    (tmp_path / "c.yml").write_text("role: c\nconfigs: [c]\n")
    for overlay, names in (("none", ["a", "c"]), ("dev", ["b", "c"])):
        assert [one.role for one in schema.load(tmp_path, overlay=overlay)] == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("role: x\nconfgis: []\n", "confgis: Extra inputs"),
        ("configs: [a]\n", "role: Field required"),
        ("role: x\nhttp: {a: {status: 200}}\n", "http.a.url"),
        ("role: x\nonly_if: [sunday]\n", "only_if.0"),
        ("role: [\n", "one.yml"),
    ],
)
def test_bad_expectations_name_file_and_key(tmp_path, text, reason):
    with pytest.raises(schema.ExpectationError) as caught:
        load(tmp_path, text)
    assert "one.yml" in str(caught.value)
    assert reason in str(caught.value)


def test_no_expectations_at_all(tmp_path):
    with pytest.raises(schema.ExpectationError, match="no expectations"):
        schema.load(tmp_path, overlay="dev")


def test_two_files_can_not_expect_the_same(tmp_path):
    (tmp_path / "other.yml").write_text("role: other\nconfigs: [nginx]\n")
    with pytest.raises(schema.ExpectationError, match="expected twice: by one and other"):
        load(tmp_path, "role: one\nconfigs: [nginx]\n")


def test_conditions_of_file_and_item_add_up(tmp_path):
    (check,) = load(
        tmp_path,
        "role: x\nunless: [container]\nhttp: {a: {url: 'http://a/', only_if: [data_disk]}}\n",
    )
    facts = {"container": False, "data_disk": True, "identity": False, "engineer": False}
    assert check.not_for(facts) is None
    assert check.not_for({**facts, "container": True}) == "unless: container"
    assert check.not_for({**facts, "data_disk": False}) == "only if: data_disk"


def test_wanted_names_what_collectors_can_not_list_themselves():
    wanted = catalogue.wanted(schema.load(SHIPPED, overlay="none"))
    assert "nginx" in wanted["configs"]
    assert wanted["healthz"] == "/healthz"
    assert wanted["commands"]["site/revision"]["argv"][0] == "runuser"
    assert set(wanted["application"]) == {"revision", "schema"}
    assert "/srv/about/current" in wanted["paths"]
    assert json.loads(json.dumps(wanted))


def test_every_item_and_every_area_is_a_check():
    layers = manifest.Layers([manifest.Manifest(areas={"package": {"a": {"version": "1"}}})])
    answering = roles.Roles(default="base", patterns={"nginx": ("package/a",)})
    item, extra = catalogue.of_manifest(layers, answering)
    assert (item.name, item.role, item.kind) == ("package/a", "nginx", "item")
    assert (extra.name, extra.role, extra.kind) == ("extra/package", "base", "extra")


# The observation


def test_one_round_trip_brings_every_collector_and_probe():
    host = LocalHost()
    seen = observe.observe(host, NOTHING)
    assert len(host.commands) == 1
    files = {path.stem for name in ("collectors", "probes") for path in (SUITE / name).glob("*.py")}
    assert set(seen.collected) == files - {"__init__", "common"} | {"boot"}
    assert "one round trip" in seen.timing()


def test_a_capture_brings_the_collectors_alone():
    seen = observe.observe(LocalHost(), NOTHING, probes=False)
    assert "http" not in seen.collected
    assert "commands" not in seen.collected
    assert {"packages", "facts"} <= set(seen.collected)


def test_the_command_fits_on_a_command_line():
    shipped = catalogue.wanted(schema.load(SHIPPED, overlay="dev"))
    assert len(observe.payload(shipped)) < 60_000  # Linux allows 131072 for one argument


def test_an_unreachable_machine_is_said():
    class Unreachable:
        def run(self, command, *args):
            raise RuntimeError(types.SimpleNamespace(stderr_bytes=b"noise\nConnection refused\n"))

    with pytest.raises(observe.CannotObserveError, match=r"^Connection refused$"):
        observe.observe(Unreachable(), NOTHING)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (LocalHost(rc=1, stderr=b"sudo: a password is required\n"), "a password is required"),
        (LocalHost(rc=0), "exit code 0"),
        (LocalHost(rc=0, stdout=base64.b64encode(zlib.compress(b"{}"))[:-4]), "was cut off"),
        (LocalHost(rc=0, stdout=b"Welcome to web1!"), "was cut off"),
    ],
)
def test_a_machine_that_does_not_answer_as_it_should_is_said(host, said):
    with pytest.raises(observe.CannotObserveError, match=said):
        observe.observe(host, NOTHING)


def test_a_failing_and_a_hanging_collector_hide_nothing():
    sources = {
        "good": "AREAS = ('g',)\ndef collect(wanted, run): return {'g': {'i': wanted['x']}}",
        "bad": "AREAS = ('b',)\ndef collect(wanted, run): raise OSError('no such thing')",
        "broken": "def collect(wanted, run)",
        "slow": "AREAS = ('s',)\nimport time\ndef collect(wanted, run): time.sleep(30)",
        "facts": "def probe(wanted, run): return {'fqdn': 'a.b', 'engineer': ''}",
    }
    found = INSIDE.observe(sources, {"x": {"v": 1}}, deadline=0.5)
    assert found["good"]["data"] == {"g": {"i": {"v": 1}}}
    assert found["bad"]["error"] == "OSError: no such thing"
    assert found["broken"]["error"].startswith("SyntaxError")
    assert found["slow"]["error"] == "no answer after 0.5 s"
    seen = observe.Observation(collected=found, seconds=1)
    assert seen.areas == {"g": {"i": {"v": 1}}}
    seen.check_seen("g/i")
    for name, said in (
        ("b/x", "no such thing"),
        ("s/x", "no answer"),
        ("z/x", "broken: SyntaxError"),
    ):
        with pytest.raises(observe.NotObservedError, match=said):
            seen.check_seen(name)


def test_hashes_over_secrets_are_sealed_with_the_key_or_left_out():
    facts = {"data": {"fqdn": "a.b", "engineer": ""}, "areas": []}
    file = {"data": {"file": {"/k": {"secret": "ab"}}}, "areas": ["file"]}
    collected = {"facts": facts, "files": file}
    without = observe.Observation(collected=collected, seconds=1)
    assert without.areas == {"file": {"/k": {"secret": None}}}
    sealed = [
        observe.Observation(collected=collected, seconds=1, key=key).areas["file"]["/k"]["secret"]
        for key in (b"one", b"one", b"other")
    ]
    assert sealed[0] == sealed[1] != sealed[2]
    assert "ab" not in sealed


def test_bad_commands_give_codes_instead_of_exceptions():
    assert INSIDE.run(["devvm-no-such-program"])[0] == 127
    assert INSIDE.run(["sleep", "5"], timeout=0.1)[0] == 124
    assert INSIDE.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")


def test_a_collector_that_is_not_there_is_said(tmp_path, monkeypatch):
    install_ours(tmp_path)
    (tmp_path / "company_ours.py").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(observe.CannotObserveError, match="company_ours is not"):
        observe.payload(NOTHING)


# The suite as people run it

MANIFEST = """
format: 1
areas:
  ours:
    good: {value: "1"}
    other: {value: "2"}
    gone: {value: "1"}
    hidden: {value: "1"}
"""


@needs_root
def test_results_and_junit_go_by_the_names_of_checks(tmp_path):
    """With a collector of a company's own, which an entry point names."""
    done, results = run_suite(
        tmp_path,
        f"--junitxml={tmp_path}/junit.xml",
        manifest=MANIFEST,
        env=install_ours(tmp_path / "site"),
    )
    assert done.returncode == 1
    assert {name: (e["outcome"], e.get("difference")) for name, e in results.items()} == {
        "ours/good": ("passed", None),
        "ours/other": ("failed", "differs"),
        "ours/gone": ("failed", "missing"),
        "ours/surplus": ("failed", "extra"),
        "ours/hidden": ("error", None),
    }
    other = results["ours/other"]
    assert other["message"] == "value: expected 2, found 1"
    assert (other["expected"], other["found"]) == ({"value": "2"}, {"value": "1"})
    assert results["ours/surplus"]["message"] == "not in production; found value 1"
    assert "does not answer" in results["ours/hidden"]["message"]
    junit = (tmp_path / "junit.xml").read_text()
    assert 'classname="parity.production" name="ours/other"' in junit
    assert "expected 2, found 1" in junit


@needs_root
def test_packages_as_the_release_has_them_are_ahead_of_production(tmp_path):
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    here = {line.split()[0]: line.split()[1] for line in versions if line.endswith(" installed")}
    (tmp_path / "packages.json").write_text(json.dumps({"dpkg": here["dpkg"], "tar": "0.1"}))
    items = {name: {"version": version, "origin": None} for name, version in here.items()}
    items["dpkg"]["version"] = items["tar"]["version"] = "0.0.1"
    items["devvm-of-old"] = {"version": "1"}
    text = manifest.dump(manifest.Manifest(areas={"package": items}))
    _, results = run_suite(tmp_path, f"--release-packages={tmp_path}/packages.json", manifest=text)
    assert results["package/dpkg"]["outcome"] == "ahead"
    assert results["package/dpkg"]["package"] == f"dpkg {here['dpkg']}"
    assert results["package/tar"]["outcome"] == "failed"
    assert results["package/devvm-of-old"]["outcome"] == "ahead"
    assert results["package/sed"]["outcome"] == "passed"


def test_packages_of_a_release_that_can_not_be_read_are_a_usage_error(tmp_path):
    (tmp_path / "packages.json").write_text("[")
    done, results = run_suite(tmp_path, f"--release-packages={tmp_path}/packages.json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--release-packages: {tmp_path}/packages.json" in done.stderr
    assert not results


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"expectations": "role: base\nsokets: {}\n"}, "sokets"),
        ({"manifest": "format: 2\n"}, "manifest.yml: format"),
        ({"manifest": "[\n"}, "is not YAML"),
    ],
)
def test_a_broken_file_is_a_usage_error(tmp_path, files, said):
    done, results = run_suite(tmp_path, **files)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr
    assert not results
