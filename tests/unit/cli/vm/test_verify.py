"""`devvm verify`: text, JSON, pages, and what it refuses."""

import re
from dataclasses import replace

import pytest

from devvm import wiring
from devvm.domain.check import Outcome
from tests.unit.cli.documented import RELEASE, documented
from tests.unit.cli.findings import FAILED, PASSED, finding


def test_verify(cli, dev, monkeypatch, tmp_path):
    verifier = finding(dev, monkeypatch, PASSED, FAILED)
    result = cli("verify", "dev001", "--junit", str(tmp_path / "j.xml"), "--json")
    assert result.code == 3
    assert set(result.json) == documented("Report")
    assert set(result.json["checks"][0]) == documented("Check")
    assert verifier.junit == [tmp_path / "j.xml"]
    text = cli("verify", "dev001").stdout
    assert re.search(r"^redis +1 +1 failed\nnginx +1 +passed$", text, re.MULTILINE)
    assert "unit/redis-server.service: failed\n  redis-server is inactive\n" in text
    assert re.search(
        rf"^dev001: 1 of 2 checks passed in .* \(release {RELEASE}\)$", text, re.MULTILINE
    )
    assert "unit/nginx.service" not in text
    assert "unit/nginx.service" in cli("verify", "dev001", "--checks").stdout
    finding(dev, monkeypatch, PASSED)
    assert cli("verify", "dev001").code == 0


def test_verify_of_a_vm_with_a_difference_that_is_waived(cli, dev, monkeypatch):
    waived = replace(
        FAILED, outcome=Outcome.WAIVED, message="it is off", waiver="waived until 2027"
    )
    finding(dev, monkeypatch, PASSED, waived)
    done = cli("verify", "dev001")
    assert done.code == 0
    assert re.search(r"^redis +1 +passed, 1 waived$", done.stdout, re.MULTILINE)
    assert "unit/redis-server.service: waived\n  it is off\n  waived until 2027\n" in done.stdout
    assert "1 of 2 checks passed, 1 waived in" in done.stdout
    assert cli("verify", "dev001", "--json").json["checks_waived"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--fix", "--checks"), "--fix can't be combined with --checks"),
        (("--fix", "--junit", "x.xml"), "--fix can't be combined with --junit"),
        (("--parallel", "2"), "--parallel needs --all"),
        (("--parallel", "4"), "--parallel needs --all"),
        (("--html", "nowhere/x.html"), "nowhere/x.html can't be written"),
        (("--fix", "--html", "nowhere/x.html"), "nowhere/x.html can't be written"),
        (("--html", "file/x.html"), "file/x.html can't be written"),
        (("--junit", "file/x.xml"), "file/x.xml can't be written"),
    ],
)
def test_verify_refuses_what_it_can_not_do_before_it_checks(
    cli, dev, monkeypatch, tmp_path, given, said
):
    verifier = finding(dev, monkeypatch, PASSED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = cli("verify", "dev001", *given)
    assert (done.code, done.stdout, verifier.junit) == (2, "", [])
    assert done.stderr.startswith(f"Error: {said}")
    assert cli("verify", "dev001", *given, "--json").json["error"]["code"] == "usage"


def test_verify_writes_into_folders(cli, dev, monkeypatch, tmp_path):
    verifier = finding(dev, monkeypatch, PASSED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    there, made = "out/page.html", "made/by/junit.xml"  # pytest creates the folders of this one
    assert cli("verify", "dev001", "--html", there, "--junit", made).code == 0
    assert (tmp_path / there).is_file()
    assert [str(path) for path in verifier.junit] == [made]


def test_verify_fix_looks_at_the_host_once(cli, dev, monkeypatch):
    finding(dev, monkeypatch, PASSED)
    built = []
    monkeypatch.setattr(
        wiring, "build_services", lambda config: built.append(config) or dev.services
    )
    assert "Nothing to fix" in cli("verify", "dev001", "--fix").stdout
    assert len(built) == 1
