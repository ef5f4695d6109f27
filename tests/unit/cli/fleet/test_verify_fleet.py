"""`devvm verify --all`: text, JSON and exit codes."""

from dataclasses import replace

import pytest

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.operations.verify import fleet as verify_all
from devvm.operations.verify.fleet import FleetReport
from tests.unit.cli.documented import RELEASE, documented, fake

NEWER = "2026.12.01-bbbbbbbbbbbb"


def of(vm, *checks, release=RELEASE, seconds=12.5):
    well = CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED)
    return Report(vm=vm, release=release, seconds=seconds, checks=(well, *checks))


def failing(name, message, outcome=Outcome.FAILED):
    return CheckResult(name=name, role="r", outcome=outcome, message=message)


OFF = failing("unit/redis-server.service", "it is inactive\nsince 5 min")
DOWN = tuple(
    failing(f"setting/mariadb:{number:03}", "mariadb does not answer", Outcome.ERROR)
    for number in range(900)
)
WAIVED = failing("file/motd", "it has another mode; waived", Outcome.WAIVED)
FLEET = FleetReport(
    reports={
        report.vm: report
        for report in (
            of("dev1", WAIVED),
            of("dev2", OFF),
            of("dev4", OFF, *DOWN, seconds=125.0),
            *(of(f"qa{number}", release=NEWER) for number in range(1, 8)),
        )
    },
    not_running=("old1", "old2"),
    not_checked={"dev3": "dev3-vagrant could not be checked: No route to host"},
    seconds=130.5,
)


@pytest.fixture
def found(services, monkeypatch):
    """Make the operation return this; yields its calls."""
    return lambda fleet: fake(monkeypatch, verify_all, "verify_all", fleet)


def rows(text, heading):
    """The rows of the table whose heading has these words."""
    table = text.split("\n\n")
    lines = next(part for part in table if part.split("\n")[0].split()[0] == heading).splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]


def test_what_matters_comes_first(cli, found):
    calls = found(FLEET)
    done = cli("verify", "--all", "--parallel", "7")
    assert done.code == 3
    assert calls[0][1] == {"parallel": 7}
    assert calls[0][0][0].command == "verify --all"
    headings = [part.split()[0] for part in done.stdout.split("\n\n")]
    assert headings == ["CHECK", "RELEASE", "VM", "dev3:", "11"]
    assert rows(done.stdout, "CHECK") == [
        ["unit/redis-server.service", "dev2, dev4", "it is inactive"],
        [
            "setting/mariadb:000 ... setting/mariadb:899",
            "dev4",
            "900 checks: mariadb does not answer",
        ],
    ]
    assert rows(done.stdout, "RELEASE") == [[NEWER, "7", "7", "0"], [RELEASE, "3", "1", "2"]]
    assert rows(done.stdout, "VM") == [
        ["dev4", RELEASE, "901 failed", "2 min 05 s"],
        ["dev2", RELEASE, "1 failed", "12 s"],
        ["dev3", "-", "not checked", "-"],
        ["dev1", RELEASE, "passed, 1 waived", "12 s"],
        *([f"qa{number}", NEWER, "passed", "12 s"] for number in range(1, 8)),
        ["old1", "-", "not running", "-"],
        ["old2", "-", "not running", "-"],
    ]
    assert done.stdout.endswith(
        "dev3: not checked\n"
        "  dev3-vagrant could not be checked: No route to host\n"
        "\n"
        "11 VMs: 8 match production, 2 differ, 1 could not be checked; 2 not running\n"
    )


def test_json(cli, found):
    found(FLEET)
    done = cli("verify", "--all", "--json", "--quiet")
    assert (done.code, done.stderr) == (3, "")
    data = done.json
    assert list(data) == [
        "passed", "vms", "not_running", "not_checked", "by_release", "by_check", "seconds",
    ]  # fmt: skip
    assert data["passed"] is False
    assert [vm["vm"] for vm in data["vms"]][:3] == ["dev1", "dev2", "dev4"]
    assert set(data["vms"][0]) == documented("Report")
    assert data["not_running"] == ["old1", "old2"]
    assert data["not_checked"] == [{"name": "dev3", "reason": FLEET.not_checked["dev3"]}]
    assert data["by_release"] == [
        {"release": NEWER, "vms_total": 7, "vms_matching": 7, "vms_differing": 0},
        {"release": RELEASE, "vms_total": 3, "vms_matching": 1, "vms_differing": 2},
    ]
    assert data["by_check"] == [
        {
            "check": "unit/redis-server.service",
            "checks_total": 1,
            "vms": ["dev2", "dev4"],
            "message": "it is inactive\nsince 5 min",
        },
        {
            "check": "setting/mariadb:000 ... setting/mariadb:899",
            "checks_total": 900,
            "vms": ["dev4"],
            "message": "mariadb does not answer",
        },
    ]
    assert data["seconds"] == 130.5


@pytest.mark.parametrize(
    ("fleet", "code", "last"),
    [
        (FleetReport(reports={"dev1": of("dev1")}), 0, "1 VM: 1 matches production"),
        (
            FleetReport(reports={"dev1": of("dev1")}, not_running=("dev2",)),
            0,
            "1 VM: 1 matches production; 1 not running",
        ),
        (
            FleetReport(reports={"dev1": of("dev1")}, not_checked={"dev2": "no"}),
            1,
            "2 VMs: 1 matches production, 1 could not be checked",
        ),
        (
            FleetReport(reports={"dev1": of("dev1", OFF)}, not_checked={"dev2": "no"}),
            3,
            "2 VMs: 0 match production, 1 differs, 1 could not be checked",
        ),
        (
            FleetReport(not_running=("dev1", "dev2")),
            0,
            "Nothing to check: 2 not running. Next: devvm start NAME",
        ),
    ],
)
def test_exit_codes_and_the_line_that_says_it_all(cli, found, fleet, code, last):
    found(fleet)
    done = cli("verify", "--all")
    assert (done.code, done.stdout.splitlines()[-1]) == (code, last)
    as_json = cli("verify", "--all", "--json")
    assert (as_json.code, as_json.json["passed"]) == (code, code == 0)


def test_no_vm_at_all(cli, found):
    found(FleetReport())
    done = cli("verify", "--all")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr == "There are no VMs on this host. Next: devvm create\n"
    assert cli("verify", "--all", "--json").json["vms"] == []


def test_many_vms_are_counted(cli, found):
    found(FleetReport(reports={name: of(name, OFF) for name in ("a", "b", "c", "d", "e")}))
    assert rows(cli("verify", "--all").stdout, "CHECK")[0][1] == "a, b, c and 2 more"


def test_a_vm_of_which_nothing_was_seen(cli, found):
    empty = replace(of("dev2"), checks=())
    found(FleetReport(reports={"dev1": of("dev1"), "dev2": empty}))
    done = cli("verify", "--all")
    assert done.code == 3
    assert [row[2] for row in rows(done.stdout, "VM")] == ["no checks", "passed"]


@pytest.mark.parametrize(
    "more", [("dev1",), ("--fix",), ("--html", "x.html"), ("--junit", "x.xml"), ("--checks",)]
)
def test_what_is_for_one_vm_is_refused(cli, found, more):
    calls = found(FLEET)
    assert cli("verify", "--all", *more).code == 2
    assert cli("verify", "--all", "--parallel", "0").code == 2
    assert calls == []
