"""The parity suite: expectations, checks, the observation; and runs with pytest."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import types
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devvm.domain.release import applied_roles
from devvm.parity.checks import catalogue, expectations
from devvm.parity.collect import inside, observe
from devvm.parity.production import manifest, roles
from tests.support.reference_stack import REFERENCE
from tests.unit.parity_bench import (
    EXPECTED,
    SUITE,
    LocalHost,
    needs_root,
    own_collectors,
    run_suite,
)

SHIPPED = REFERENCE.checks
COLLECT = Path(observe.__file__).parent


def load(folder, text, overlay="dev"):
    (folder / "one.yml").write_text(text)
    return catalogue.expand(expectations.load(folder, overlay=overlay))


NOTHING = catalogue.wanted([])
TODAY = datetime.now(UTC).date()


# Expectations


@pytest.mark.parametrize("overlay", ["dev", "none"])
def test_the_shipped_expectations_are_well_formed(overlay):
    checks = catalogue.expand(expectations.load(SHIPPED, overlay=overlay))
    names = [check.name for check in checks]
    assert names == sorted(set(names))
    for name in ("config/nginx/parses", "http/home/status", "site/healthz/database", "worker/job"):
        assert name in names


def test_every_role_of_the_stack_is_named():
    """Either in its expectations or in what it is responsible for in the manifest."""
    named = {one.role for one in expectations.load(SHIPPED, overlay="dev")}
    named |= roles.load(REFERENCE.production / "roles.yml").patterns.keys()
    applied = applied_roles.of(REFERENCE.playbooks()).keys()
    assert applied - {"site_checkout"} <= named  # which production doesn't have


def test_every_kind_of_check_has_a_test_and_every_test_a_kind():
    kinds = {
        check.kind
        for overlay in ("dev", "none")
        for check in catalogue.expand(expectations.load(SHIPPED, overlay=overlay))
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
        assert [one.role for one in expectations.load(tmp_path, overlay=overlay)] == names


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
    with pytest.raises(expectations.ExpectationError) as caught:
        load(tmp_path, text)
    assert "one.yml" in str(caught.value)
    assert reason in str(caught.value)


def test_a_stack_need_not_expect_anything(tmp_path):
    assert expectations.load(tmp_path, overlay="dev") == []
    assert expectations.load(tmp_path / "absent", overlay="none") == []


def test_two_files_can_not_expect_the_same(tmp_path):
    (tmp_path / "other.yml").write_text("role: other\nconfigs: [nginx]\n")
    with pytest.raises(expectations.ExpectationError, match="expected twice: by one and other"):
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
    wanted = catalogue.wanted(expectations.load(SHIPPED, overlay="none"))
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


def test_one_round_trip_brings_every_collector_and_probe(this_machine):
    folders = (COLLECT / "collectors", COLLECT / "probes")
    files = {path.stem for folder in folders for path in folder.glob("*.py")}
    assert set(this_machine.collected) == files - {"__init__", "common"} | {"boot"}
    assert "one round trip" in this_machine.timing()


def sent(**options):
    """What is sent to a machine to run there."""
    return json.loads(zlib.decompress(base64.b64decode(observe.payload(NOTHING, **options))))


def test_a_capture_brings_the_collectors_alone_and_is_gentle():
    """Everything that is sent is run; the previous test shows that."""
    every, gentle = sent(), sent(probes=False)
    probes = {path.stem for path in (COLLECT / "probes").glob("[!_]*.py")}
    assert set(every["sources"]) - set(gentle["sources"]) == probes - {"facts"}
    assert {"packages", "facts"} <= set(gentle["sources"])
    assert (every["nice"], gentle["nice"]) == (0, 10)


def test_the_command_fits_on_a_command_line():
    shipped = catalogue.wanted(expectations.load(SHIPPED, overlay="dev"))
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


def test_several_that_hang_do_not_keep_the_others_waiting(monkeypatch):
    monkeypatch.setattr(inside, "MAX_PARALLEL", 2)
    monkeypatch.setattr(inside, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(inside, "prepare", lambda: None)
    hangs = "AREAS = ('s',)\nimport time\ndef collect(wanted, run): run(['sleep', '30'])"
    good = "AREAS = ('g',)\ndef collect(wanted, run): return {'g': {}}"
    sources = {"a": hangs, "b": hangs, "c": hangs, "d": good}
    start = time.monotonic()
    found = inside.observe(sources, {}, deadline=3)
    assert found["d"]["data"] == {"g": {}}
    assert all(found[name]["error"].startswith("no answer after ") for name in "abc")
    assert time.monotonic() - start < 10


def test_a_collector_that_takes_its_process_along_hides_nothing():
    sources = {
        "gone": "AREAS = ('x',)\nimport os\ndef collect(wanted, run): os._exit(1)",
        "good": "AREAS = ('g',)\ndef collect(wanted, run): return {'g': {}}",
    }
    found = inside.observe(sources, {})
    assert found["gone"]["error"] == "ended without an answer"
    assert found["gone"]["areas"] == ["x"]
    assert found["good"]["data"] == {"g": {}}


def test_a_failing_and_a_hanging_collector_hide_nothing(monkeypatch):
    # What other collectors need takes part of the time, which is short here.
    monkeypatch.setattr(inside, "prepare", lambda: None)
    sources = {
        "good": "AREAS = ('g',)\ndef collect(wanted, run): return {'g': {'i': wanted['x']}}",
        "bad": "AREAS = ('b',)\ndef collect(wanted, run): raise OSError('no such thing')",
        "broken": "def collect(wanted, run)",
        "slow": "AREAS = ('s',)\nimport time\ndef collect(wanted, run): time.sleep(30)",
        "facts": "def probe(wanted, run): return {'fqdn': 'a.b', 'engineer': ''}",
    }
    found = inside.observe(sources, {"x": {"v": 1}}, deadline=0.5)
    assert found["good"]["data"] == {"g": {"i": {"v": 1}}}
    assert found["bad"]["error"] == "OSError: no such thing"
    assert found["broken"]["error"].startswith("SyntaxError")
    assert found["slow"]["error"].startswith("no answer after ")
    seen = observe.Observation(collected=found, seconds=1)
    assert seen.areas == {"g": {"i": {"v": 1}}}
    seen.require_observed("g/i")
    for name, said in (
        ("b/x", "no such thing"),
        ("s/x", "no answer"),
        ("z/x", "broken: SyntaxError"),
    ):
        with pytest.raises(observe.NotObservedError, match=said):
            seen.require_observed(name)


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


@pytest.mark.parametrize("age", [0, 3600])
def test_a_vm_that_was_just_restored_is_looked_at_when_it_has_started(monkeypatch, tmp_path, age):
    """Of a VM that was restored an hour ago, nothing is awaited; nor what else is started."""
    restored = tmp_path / "restored"
    restored.write_text("db.service\nsite.service")
    now = time.time()
    os.utime(restored, (now - age, now - age))
    queues = ["7 db.service start running\n8 site.service start waiting\n",
              "8 site.service start running\n", "9 backup.service start running\n"]  # fmt: skip
    asked = []

    def run(argv, timeout=0.0):
        asked.append(argv[1])
        return 0, "running\n" if argv[1] == "is-system-running" else queues.pop(0), ""

    monkeypatch.setattr(inside, "RESTORED", str(restored))
    monkeypatch.setattr(inside, "run", run)
    assert inside.wait_for_boot() == "running"
    assert asked == ["is-system-running"] + ["list-jobs"] * (0 if age else 3)


def test_a_machine_that_was_not_restored_is_not_awaited(monkeypatch, tmp_path):
    monkeypatch.setattr(inside, "RESTORED", str(tmp_path / "nothing"))
    assert inside.just_started() == set()


def test_bad_commands_give_codes_instead_of_exceptions():
    assert inside.run(["devvm-no-such-program"])[0] == 127
    assert inside.run(["sleep", "5"], timeout=0.1)[0] == 124
    assert inside.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")


@pytest.mark.parametrize("name", ["packages", "http"])
def test_a_collector_with_the_name_of_one_of_devvms_is_refused(tmp_path, name):
    folder = own_collectors(tmp_path / "own", name)
    with pytest.raises(observe.CannotObserveError, match=f"{name}.py: devvm has one of this name"):
        observe.payload(NOTHING, collectors=folder)


def test_a_collector_that_can_not_be_read_is_said(tmp_path):
    (tmp_path / "ours.py").write_bytes(b"\xff")
    with pytest.raises(observe.CannotObserveError, match=r"ours\.py: 'utf-8'"):
        observe.payload(NOTHING, collectors=tmp_path)


# The suite as people run it

WAIVERS = f"""
- {{check: theirs/other, reason: we like it, owner: jane, until: {TODAY}}}
- {{check: theirs/gone, reason: gone, owner: jane, until: {TODAY - timedelta(2)}}}
- {{check: theirs/surplus, reason: a tool, owner: jane, until: {TODAY}}}
- {{check: theirs/none, reason: typo, owner: jane, until: {TODAY}}}
- {{check: "ours/*", machines: [elsewhere], reason: x, owner: jane, until: {TODAY}}}
- {{check: theirs/hidden, reason: not seen, owner: jane, until: {TODAY}}}
"""


@dataclass(frozen=True)
class SuiteRun:
    done: subprocess.CompletedProcess
    results: dict
    junit: str
    here: dict  # versions of this machine's packages

    def of(self, area):
        """The results of an area, or of waivers for it."""
        beginnings = (f"{area}/", f"waiver/{area}/")
        return {name: e for name, e in self.results.items() if name.startswith(beginnings)}


@pytest.fixture(scope="module")
def suite_run(tmp_path_factory):
    """A run of the suite on this machine, shared by all tests because it takes long.

    It includes a stack's two own collectors; most of what one of them finds is waived. `tar` and
    `dpkg` have other versions than in production; `dpkg`'s is the release's.
    """
    folder = tmp_path_factory.mktemp("suite")
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    here = {line.split()[0]: line.split()[1] for line in versions if line.endswith(" installed")}
    items = {name: {"version": version, "origin": None} for name, version in here.items()}
    items["dpkg"]["version"] = items["tar"]["version"] = "0.0.1"
    items["devvm-of-old"] = {"version": "1"}
    areas = {"package": items, "ours": EXPECTED, "theirs": EXPECTED}
    own_collectors(folder / "expectations/collectors", "ours", "theirs")
    (folder / "packages.json").write_text(json.dumps({"dpkg": here["dpkg"], "tar": "0.1"}))
    done, results = run_suite(
        folder,
        f"--junitxml={folder}/junit.xml",
        f"--release-packages={folder}/packages.json",
        manifest=manifest.dump(manifest.Manifest(areas=areas)),
        waivers=WAIVERS,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return SuiteRun(done, results, (folder / "junit.xml").read_text(), here)


@needs_root
def test_results_and_junit_go_by_the_names_of_checks(suite_run):
    results = suite_run.of("ours")
    assert {name: (e["outcome"], e.get("difference")) for name, e in results.items()} == {
        "ours/good": ("passed", None),
        "ours/other": ("failed", "differs"),
        "ours/gone": ("failed", "missing"),
        "ours/surplus": ("failed", "extra"),
        "ours/hidden": ("error", None),
        "waiver/ours/*": ("skipped", None),
    }
    other = results["ours/other"]
    assert other["message"] == "value: expected 2, found 1"
    assert (other["expected"], other["found"]) == ({"value": "2"}, {"value": "1"})
    assert results["ours/surplus"]["message"] == "not in production; found value 1"
    assert "does not answer" in results["ours/hidden"]["message"]
    assert 'classname="parity.production" name="ours/other"' in suite_run.junit
    assert "expected 2, found 1" in suite_run.junit


@needs_root
def test_packages_as_the_release_has_them_are_ahead_of_production(suite_run):
    results = suite_run.results
    assert results["package/dpkg"]["outcome"] == "ahead"
    assert results["package/dpkg"]["package"] == f"dpkg {suite_run.here['dpkg']}"
    assert results["package/tar"]["outcome"] == "failed"
    assert results["package/devvm-of-old"]["outcome"] == "ahead"
    assert results["package/sed"]["outcome"] == "passed"


@needs_root
def test_what_is_waived_does_not_fail_and_a_waiver_can(suite_run):
    results = suite_run.of("theirs")
    assert {name: e["outcome"] for name, e in results.items()} == {
        "theirs/good": "passed",
        "theirs/other": "waived",
        "theirs/gone": "failed",
        "theirs/surplus": "waived",
        "theirs/hidden": "error",  # what can't be observed can't be waived
        "waiver/theirs/other": "passed",
        "waiver/theirs/gone": "failed",
        "waiver/theirs/surplus": "passed",
        "waiver/theirs/none": "failed",
        "waiver/theirs/hidden": "passed",
    }
    other = results["theirs/other"]
    assert other["message"] == "value: expected 2, found 1"
    assert other["waiver"] == f"waived until {TODAY} by jane: we like it"
    assert "that ended" in results["waiver/theirs/gone"]["message"]
    assert "a check of this name" in results["waiver/theirs/none"]["message"]
    assert "we like it" in suite_run.junit
    assert "2 xfailed" in suite_run.done.stdout


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


def test_only_what_a_manifest_has_is_looked_at():
    sources = {
        "units": "AREAS = ('unit',)\ndef collect(wanted, run): return {'unit': {}}",
        "mine": "AREAS = ('shop', 'stock')\ndef collect(wanted, run): return {'shop': {}}",
        "tried": "def probe(wanted, run): return 'works'",
    }
    assert set(inside.observe(sources, {"areas": None})) == {"units", "mine", "tried"}
    assert set(inside.observe(sources, {"areas": ["stock"]})) == {"mine", "tried"}
    assert set(inside.observe(sources, {"areas": []})) == {"tried"}


def test_what_checks_are_compared_with_is_looked_at_whatever_a_manifest_has():
    every = expectations.load(SHIPPED, overlay="dev")
    assert {"unit", "mount"} <= set(catalogue.wanted(every, areas=())["areas"])
    assert catalogue.wanted([], areas=("file",))["areas"] == ["file"]
    assert catalogue.wanted(every)["areas"] is None
