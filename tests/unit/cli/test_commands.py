"""Each command's text and JSON; what scripts rely on stands in docs/json.md."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from devvm import wiring
from devvm.cli import boxes
from devvm.errors import HostNotReadyError
from devvm.model import Disk, Outcome, VmState
from devvm.operations import access, box, create, lifecycle, setup, standing, verify
from devvm.operations.create import CreateResult
from devvm.operations.lifecycle import VmDetails
from devvm.operations.standing import Standing
from tests.unit.cli.documented import RELEASE, documented, documented_for, fake


@pytest.fixture
def details(vm, run_record):
    return VmDetails(
        vm=vm,
        url="https://dev1.devvm.test",
        disks=(
            Disk(
                device="vda",
                role="root",
                path=Path("/p/x.img"),
                size_bytes=20 * 2**30,
                used_bytes=2**30,
            ),
        ),
        runs=(run_record,),
        logs=(Path("/var/lib/devvm/logs/x.log"),),
    )


def test_list(cli, services, monkeypatch, vm):
    gone = replace(
        vm, name="old", state=VmState.MISSING, metadata=None, lease=None, memory_mib=0, cpus=0
    )
    half = replace(vm, name="half", metadata=replace(vm.metadata, ready=False))
    fake(monkeypatch, lifecycle, "list_vms", [vm, half, gone])
    fake(monkeypatch, standing, "of", {name: Standing() for name in ("dev1", "half", "old")})
    data = cli("list", "--json").json
    assert set(data) == documented_for("list")
    assert set(data["vms"][0]) == documented("VM") | documented("Standing")
    assert [v["state"] for v in data["vms"]] == ["running", "running", "missing"]
    assert [v["ready"] for v in data["vms"]] == [True, False, False]
    rows = [line.split("  ") for line in cli("list").stdout.splitlines()]
    assert [row[0] for row in rows] == ["NAME", "dev1", "half", "old"]
    assert "unfinished" in cli("list").stdout
    assert re.search(r"^old +missing( +-){8}$", cli("list").stdout, re.MULTILINE)


def test_an_empty_list_says_what_next_and_prints_nothing(cli, services, monkeypatch):
    fake(monkeypatch, lifecycle, "list_vms", [])
    fake(monkeypatch, standing, "of", {})
    result = cli("list")
    assert (result.code, result.stdout) == (0, "")
    assert "devvm create" in result.stderr
    assert cli("list", "--json").json == {"vms": []}


def test_show(cli, services, monkeypatch, details):
    fake(monkeypatch, lifecycle, "show", details)
    fake(monkeypatch, standing, "of", {"dev1": Standing()})
    data = cli("show", "dev1", "--json").json
    assert set(data) == documented_for("show")
    assert set(data["vm"]) == documented("VM") | documented("Standing")
    assert set(data["disks"][0]) == documented("Disk")
    assert set(data["runs"][0]) == documented("Run")
    assert set(data["runs"][0]["phases"][0]) == {"name", "title", "seconds", "result"}
    text = cli("show", "dev1").stdout
    for part in ("jane", RELEASE, "192.168.219.10", "2 CPUs, 2 GiB, kvm", "ca.crt", "1.0 GiB of"):
        assert part in text
    assert "create dev1: done in 40 s" in text
    assert re.search(r"Starting the VM +done +34 s", text)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_power(cli, services, monkeypatch, vm, verb):
    calls = fake(monkeypatch, lifecycle, verb, vm)
    data = cli(verb, "dev1", "--json").json
    assert set(data) == documented_for(verb)
    assert set(data["run"]) == documented("Run")
    assert data["run"]["command"] == f"{verb} dev1"
    assert cli(verb).stdout == "dev1 is running\n"
    assert [c[0][0] for c in calls] == ["dev1", "jane"]  # without NAME, the one of the login
    if verb != "start":
        cli(verb, "dev1", "--force")
        assert calls[-1][1] == {"force": True}


def test_verify(cli, services, monkeypatch, report, tmp_path):
    calls = fake(monkeypatch, verify, "verify", report)
    result = cli("verify", "dev1", "--junit", str(tmp_path / "j.xml"), "--json")
    assert result.code == 3
    assert set(result.json) == documented("Report")
    assert set(result.json["checks"][0]) == documented("Check")
    assert calls[0][1] == {"junit": tmp_path / "j.xml"}
    text = cli("verify", "dev1").stdout
    assert re.search(r"^redis +1 +1 failed\nnginx +1 +passed$", text, re.MULTILINE)
    assert "unit/redis-server.service: failed\n  redis-server is inactive\n" in text
    assert text.endswith(f"dev1: 1 of 2 checks passed in 12 s (release {RELEASE})\n")
    assert "unit/nginx.service" in cli("verify", "dev1", "--checks").stdout
    fake(monkeypatch, verify, "verify", replace(report, checks=report.checks[:1]))
    assert cli("verify", "dev1").code == 0


def test_verify_of_a_vm_with_a_difference_that_is_waived(cli, services, monkeypatch, report):
    passed, failed = report.checks
    waived = replace(
        failed, outcome=Outcome.WAIVED, message="it is off", waiver="waived until 2027"
    )
    fake(monkeypatch, verify, "verify", replace(report, checks=(passed, waived)))
    done = cli("verify", "dev1")
    assert done.code == 0
    assert re.search(r"^redis +1 +passed, 1 waived$", done.stdout, re.MULTILINE)
    assert "unit/redis-server.service: waived\n  it is off\n  waived until 2027\n" in done.stdout
    assert "1 of 2 checks passed, 1 waived in" in done.stdout
    assert cli("verify", "dev1", "--json").json["checks_waived"] == 1


@pytest.fixture
def created(monkeypatch, services, vm, report, with_box):
    passed = replace(report, checks=report.checks[:1])
    result = CreateResult(
        vm=vm, report=passed, url="https://dev1.devvm.test", ssh_command="devvm ssh dev1"
    )
    return fake(monkeypatch, create, "create", result)


@pytest.fixture
def with_box(monkeypatch, services, box):
    fake(monkeypatch, create, "check", None)
    return fake(monkeypatch, create, "find_box", box)


def test_create(cli, created):
    data = cli("create", "dev1", "--memory", "4G", "--json").json
    assert set(data) == documented_for("create")
    assert set(data["report"]) == documented("Report")
    request = created[0][0][0]
    assert (request.name, request.engineer.login, request.release) == ("dev1", "jane", None)
    text = cli("create").stdout
    assert created[1][0][0].name == "jane"
    for part in ("dev1 is ready", "devvm ssh dev1", "https://dev1.devvm.test", RELEASE,
                 "1 of 1 check passed", "ca.crt"):  # fmt: skip
        assert part in text


def test_create_takes_the_machine_from_its_options(cli, created, monkeypatch, services):
    configs = []
    monkeypatch.setattr(wiring, "build_services", lambda config: configs.append(config) or services)
    cli("create", "dev1", "--cpus", "4", "--memory", "4096", "--root-disk", "40G", "--data-disk",
        "1T", "--driver", "qemu")  # fmt: skip
    vm = configs[0].vm
    assert (vm.cpus, vm.memory_mib, vm.root_gib, vm.data_gib, vm.driver) == (
        4, 4096, 40, 1024, "qemu",
    )  # fmt: skip


def test_a_vm_that_fails_its_checks_is_made_and_said(cli, created, monkeypatch, vm, report):
    result = CreateResult(vm=vm, report=report, url="https://x", ssh_command="devvm ssh dev1")
    fake(monkeypatch, create, "create", result)
    shown = cli("create", "dev1")
    assert shown.code == 3
    assert "redis-server is inactive" in shown.stdout
    assert "devvm verify dev1" in shown.stdout
    assert cli("create", "dev1", "--json").json["report"]["passed"] is False


def test_root_gives_the_vm_s_name_to_the_account(cli, created, typed_by):
    typed_by("root")
    cli("create", "dev1")
    assert created[-1][0][0].engineer.login == "dev1"
    cli("create", "dev1", "--engineer", "jane")
    assert created[-1][0][0].engineer.login == "jane"
    result = cli("create")
    assert result.code == 2
    assert "you are root" in result.stderr
    assert "Next: devvm create dev1" in result.stderr


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", "a;reboot", "x" * 64, "Dev1", "dév", "root", "-", "1a", "a\nb"]
)
def test_names_that_can_not_be(cli, created, name):
    result = cli("create", "--json", "--", name)
    assert result.code == 2
    assert result.json["error"]["code"] == "usage"
    assert result.json["error"]["resolution"]
    assert not created


def test_a_missing_box_is_built_first(cli, created, monkeypatch):
    fake(monkeypatch, create, "find_box", None)
    built = []
    from devvm.cli import create as command

    monkeypatch.setattr(command, "build_box", lambda *a, **k: built.append(k))
    cli("create", "dev1", "--yes")
    assert built == [{"release": None, "newest": False, "yes": True}]
    assert created


def test_no_box_is_built_for_what_will_be_refused(cli, created, monkeypatch):
    from devvm.cli import create as command

    fake(monkeypatch, create, "find_box", None)
    fake(monkeypatch, create, "check", HostNotReadyError("not enough memory"))
    monkeypatch.setattr(command, "build_box", lambda *a, **k: pytest.fail("built"))
    assert cli("create", "dev1").code == 4
    assert not created


def test_a_box_is_checked_in_the_hosts_usual_vm(cli, created, monkeypatch, services):
    from devvm.cli import create as command

    configs = []
    fake(monkeypatch, create, "find_box", None)
    monkeypatch.setattr(wiring, "build_services", lambda config: configs.append(config) or services)
    monkeypatch.setattr(command, "build_box", lambda *a, **k: None)
    cli("create", "dev1", "--memory", "4G")
    assert [config.vm.memory_mib for config in configs] == [4096, 2048]


def test_arguments_for_the_vm_are_passed_on_as_they_are(cli, services, monkeypatch):
    calls = fake(monkeypatch, access, "run_command", 42)
    assert cli("exec", "dev1", "--", "printf", "%s", "--json", "-h").code == 42
    assert cli("exec", "dev1", "ls", "--yes", "-la").code == 42
    assert calls[0][0] == ("dev1", ["printf", "%s", "--json", "-h"])
    assert calls[1][0] == ("dev1", ["ls", "--yes", "-la"])
    calls = fake(monkeypatch, access, "ssh", 130)
    result = cli("ssh", "dev1")
    assert (result.code, result.stderr) == (130, "")  # the shell's own code, no interrupt of ours
    assert cli("ssh").code == 130
    assert [c[0] for c in calls] == [("dev1", []), ("jane", [])]


def test_logs_and_console(cli, services, monkeypatch):
    calls = fake(monkeypatch, access, "logs", "one\n[two]\n")
    assert cli("logs", "dev1", "--unit", "nginx", "-n", "5").stdout == "one\n[two]\n"
    assert calls[0][0] == ("dev1", "nginx", 5)
    fake(monkeypatch, access, "console", 0)
    assert "Ctrl-]" in cli("console", "dev1").stderr


def test_box_list_and_show(cli, services, monkeypatch, box_):
    fake(monkeypatch, box, "list_boxes", [box_])
    data = cli("box", "list", "--json").json
    assert set(data) == documented_for("box list")
    assert set(data["boxes"][0]) == documented("Box") - {"packages", "packages_moved"}
    assert re.search(
        rf"^{RELEASE} .*900 MiB +12.12 +yes +another$", cli("box", "list").stdout, re.MULTILINE
    )
    fake(monkeypatch, box, "show", box_)
    assert set(cli("box", "show", RELEASE, "--json").json) == documented("Box")
    assert "ab" * 32 in cli("box", "show", RELEASE).stdout


@pytest.fixture
def box_(request):  # the module has the short name
    return request.getfixturevalue("box")


def test_box_verify_and_remove(cli, services, monkeypatch, report):
    fake(monkeypatch, box, "verify", report)
    assert cli("box", "verify", RELEASE, "--json").code == 3
    calls = fake(monkeypatch, box, "remove", None)
    data = cli("box", "remove", RELEASE, "--yes", "--json").json
    assert set(data) == documented_for("box remove")
    assert calls[0][0][1] == RELEASE


def test_box_build_as_root(cli, services, monkeypatch, box_, with_box):
    monkeypatch.setattr(boxes.os, "geteuid", lambda: 0)
    monkeypatch.setattr(wiring, "build_box_services", lambda config: None)
    calls = fake(monkeypatch, box, "build", box_)
    fake(monkeypatch, box, "show", box_)
    assert set(cli("box", "build", "--force", "--json").json) == documented("Box")
    assert calls[0][1] == {"release": None, "force": True, "newest": False}
    assert cli("box", "build", "--no-result").stdout == ""


def test_box_build_as_another_goes_through_sudo(cli, services, monkeypatch, tmp_path):
    from devvm import process
    from devvm.cli import readiness

    started = []

    def interactive(argv, *, env):
        started.append((argv, env))
        return 4

    monkeypatch.setattr(boxes.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(readiness, "become_root", lambda session, purpose: None)
    monkeypatch.setattr(process, "interactive", interactive)
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("DEVVM_CONFIG", str(tmp_path / "config.toml"))
    result = cli("box", "build", "--release", RELEASE, "--yes")
    assert (result.code, result.stderr) == (4, "")  # what sudo started has said it
    argv, env = started[0]
    assert argv[0] == "sudo"
    assert argv[-6:] == ["box", "build", "--no-result", "--release", RELEASE, "--yes"]
    assert "DEVVM_CONFIG" in argv[1]
    assert env["XDG_CONFIG_HOME"] == str(tmp_path / ".config")
    failed = cli("box", "build", "--json")
    assert failed.code == 4
    assert failed.json["error"]["exit_code"] == 4


def test_other_documented_keys(cli, monkeypatch):
    assert set(cli("version", "--json").json) == documented_for("version")
    shown = cli("config", "show", "--json").json
    assert set(shown) == documented_for("config show")
    assert set(shown["settings"][0]) == documented("Setting")
    monkeypatch.setattr(wiring, "setup_steps", lambda config: [])
    data = cli("setup", "--json").json
    assert set(data) == documented("Host")
    status = setup.StepStatus(key="a", title="A", optional=False, needed=())
    from devvm.cli import views

    step = views.host(setup.HostStatus(steps=(status,)))["steps"][0]
    assert set(step) == {"key", "title", "optional", "done", "needed"}


def test_a_host_that_is_not_ready_ends_with_4(cli, services, monkeypatch):
    from devvm.cli import readiness

    def refuse(session, config):
        raise HostNotReadyError("this host is not ready", resolution="devvm setup --yes")

    monkeypatch.setattr(readiness, "require", refuse)
    assert cli("list").code == 4
