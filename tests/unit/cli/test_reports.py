"""How packages that moved are shown, and who has to fix a difference."""

from dataclasses import replace
from pathlib import Path

import pytest

from devvm.cli.pool import refill
from devvm.domain.check import CheckResult, MovedPackage, Outcome
from devvm.operations.verify import verify
from devvm.operations.vm import create, requirements
from devvm.operations.vm.create import CreateResult
from tests.unit.cli.documented import documented, fake

CA = Path("/var/lib/devvm/ca/ca.crt")

NEWER = CheckResult(
    name="package/libpam-modules", role="base", outcome=Outcome.AHEAD,
    message="version: expected 1.5.2-6, found 1.5.2-7", difference="differs",
    expected={"version": "1.5.2-6"}, found={"version": "1.5.2-7"}, package="libpam-modules 1.5.2-7",
)  # fmt: skip
BROUGHT = CheckResult(
    name="file/etc/pam.d/new", role="base", outcome=Outcome.AHEAD,
    message="not in production; found mode 0644", difference="extra", expected={},
    found={"mode": "0644"}, package="libpam-modules 1.5.2-7",
)  # fmt: skip
LINE = "1 package is newer than in production: libpam-modules"


@pytest.fixture
def moved(report):
    """A report of a VM with a newer package, and what the package brought."""
    return replace(report, checks=(report.checks[0], NEWER, BROUGHT), packages_from="box")


def test_a_newer_package_and_what_it_brought_are_told_and_fail_nothing(
    cli, services, monkeypatch, moved
):
    fake(monkeypatch, verify, "verify", moved)
    done = cli("verify", "dev1")
    assert done.code == 0
    assert (
        f"{LINE}\n"
        "  libpam-modules: 1.5.2-6 -> 1.5.2-7\n"
        "    file/etc/pam.d/new: not in production; found mode 0644\n"
    ) in done.stdout
    assert "dev1: 1 of 3 checks passed, 2 ahead in" in done.stdout
    data = cli("verify", "dev1", "--json").json
    assert data["packages_from"] == "box"
    (package,) = data["packages_moved"]
    assert set(package) == documented("Moved package")
    assert package == {
        "package": "libpam-modules", "production": "1.5.2-6", "found": "1.5.2-7", "newer": True
    }  # fmt: skip
    assert [check["package"] for check in data["checks"]] == [
        None, "libpam-modules 1.5.2-7", "libpam-modules 1.5.2-7"
    ]  # fmt: skip


def test_the_page_tells_it_too(cli, services, monkeypatch, moved, tmp_path):
    fake(monkeypatch, verify, "verify", moved)
    cli("verify", "dev1", "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert LINE in page
    assert "Comes with libpam-modules 1.5.2-7" in page


def test_create_says_it_in_a_line(cli, services, monkeypatch, vm, moved, box):
    fake(monkeypatch, create, "check", None)
    fake(monkeypatch, requirements, "find_box", box)
    made = CreateResult(
        vm=vm, report=moved, url="https://x", ssh_command="devvm ssh dev1", ca_certificate=CA
    )
    fake(monkeypatch, create, "create", made)
    fake(monkeypatch, refill, "start", None)
    shown = cli("create", "dev1")
    assert shown.code == 0
    assert "1 of 3 checks passed, 2 ahead" in shown.stdout
    assert LINE in shown.stdout


def test_a_box_keeps_what_was_newer_when_it_was_built(cli, services, monkeypatch, box):
    package = MovedPackage(name="libpam-modules", production="1.5.2-6", found="1.5.2-7")
    golden = replace(box, moved=(package,))
    from devvm.operations.box import boxes as operation

    fake(monkeypatch, operation, "show", golden)
    fake(monkeypatch, operation, "warm_box", None)
    assert LINE in cli("box", "show", golden.release).stdout
    (told,) = cli("box", "show", golden.release, "--json").json["packages_moved"]
    assert told["newer"]


def test_where_the_releases_packages_are_not_known_that_is_said(cli, services, monkeypatch, report):
    other = replace(NEWER, outcome=Outcome.FAILED, package=None)
    fake(monkeypatch, verify, "verify", replace(report, checks=(other,)))
    done = cli("verify", "dev1")
    assert done.code == 3
    assert f"The packages of release {report.release} are unknown" in done.stdout
    known = replace(report, checks=(other,), packages_from="record")
    fake(monkeypatch, verify, "verify", known)
    assert "are unknown" not in cli("verify", "dev1").stdout


def test_a_vm_that_fails_its_checks_says_what_to_try_and_whom_to_tell(
    cli, services, monkeypatch, vm, report, box
):
    fake(monkeypatch, create, "check", None)
    fake(monkeypatch, requirements, "find_box", box)
    made = CreateResult(
        vm=vm, report=report, url="https://x", ssh_command="devvm ssh dev1", ca_certificate=CA,
        log=Path("/x/log"), other_release="2026.11.01-abcdefabcdef",
    )  # fmt: skip
    fake(monkeypatch, create, "create", made)
    fake(monkeypatch, refill, "start", None)
    done = cli("create", "dev1")
    assert done.code == 3
    for words in (
        "Fix         devvm verify dev1 --fix\n",
        "Report to   the platform team (failed checks by role: redis 1)\n",
        "Attach      /x/log\n",
        "Meanwhile   you can use it as it is: devvm ssh dev1\n",
        "or use another release: devvm destroy dev1; devvm create dev1 --release 2026.11.01-",
    ):
        assert words in done.stdout
    assert "dev1 was created, but checks failed" in done.stdout
    nothing = replace(made, report=replace(report, checks=()))
    fake(monkeypatch, create, "create", nothing)
    unseen = cli("create", "dev1")
    assert unseen.code == 3
    assert "dev1 was created, but no check ran" in unseen.stdout
    assert "Report to   the platform team\n" in unseen.stdout
    fake(monkeypatch, create, "create", replace(made, other_release=None))
    assert "--release" not in cli("create", "dev1").stdout
