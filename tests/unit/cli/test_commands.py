"""Each command's text and JSON; what scripts rely on stands in docs/json.md."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from devvm import wiring
from devvm.cli import formatting
from devvm.cli.box import build
from devvm.cli.output import Output
from devvm.domain.errors import HostNotReadyError
from devvm.domain.model import CheckResult, Outcome, VmState
from devvm.operations.box import boxes as box
from devvm.operations.box import packages as box_packages
from devvm.operations.host import setup
from tests.support.fleet_world import NEW
from tests.unit.cli.documented import RELEASE, documented, documented_for, fake


@pytest.fixture
def dev(world):
    """A host with dev001, which is ann's."""
    world.fleet(1)
    return world


@pytest.fixture
def half(dev):
    """And dev002, whose create was killed."""
    dev.give("dev002")
    domain = dev.host.domains["dev002.devvm.test"]
    dev.host.domains[domain.name] = replace(domain, facts=replace(domain.facts, ready=False))
    return dev


class Checks:
    """A verifier that finds this."""

    def __init__(self, *checks):
        self.checks, self.junit = checks, []

    def check(self, target, *, detail, log, packages=None, junit=None):
        self.junit.append(junit)
        return self.checks


PASSED = CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED)
FAILED = CheckResult(
    name="unit/redis-server.service", role="redis", outcome=Outcome.FAILED,
    message="redis-server is inactive",
)  # fmt: skip


def finding(world, monkeypatch, *checks):
    """What every look at a VM finds from now on."""
    verifier = Checks(*checks)
    monkeypatch.setattr(world, "verifier", verifier)
    monkeypatch.setattr(world, "services", replace(world.services, verifier=verifier))
    return verifier


# What there is -------------------------------------------------------------------------------


def test_list(cli, half):
    del half.host.domains["dev001.devvm.test"]
    data = cli("list", "--json").json
    assert set(data) == documented_for("list")
    assert set(data["vms"][0]) == documented("VM") | documented("Standing")
    assert [v["state"] for v in data["vms"]] == ["missing", "running"]
    assert [v["ready"] for v in data["vms"]] == [False, False]
    text = cli("list").stdout
    assert [line.split()[0] for line in text.splitlines()] == ["NAME", "dev001", "dev002"]
    assert re.search(r"^dev002 +unfinished +ann ", text, re.MULTILINE)
    assert re.search(r"^dev001 +missing( +\S+){8}$", text, re.MULTILINE)


def test_list_says_whose_certificate_ends_and_what_renews_it(cli, dev):
    vm = dev.services.hypervisor.vm("dev001")
    for days in (31, 12, -400):
        until = (formatting.today() + timedelta(days=days)).isoformat()
        facts = replace(vm.metadata, certificate_until=until)
        dev.services.hypervisor.set_metadata(vm.uuid, facts)
        assert cli("show", "dev001", "--json").json["vm"]["certificate_until"] == until
        assert f"until {until}" in cli("show", "dev001").stdout
        said = {31: "", 12: f"its certificate expires on {until}", -400: f"expired on {until}"}[
            days
        ]
        assert said in cli("list").stderr
        assert cli("list").stderr.count("Next: devvm doctor --fix") == bool(said)
    cli("stop", "dev001")
    assert "Next: devvm start dev001" in cli("list").stderr


def test_an_empty_list_says_what_next_and_prints_nothing(cli, world):
    result = cli("list")
    assert (result.code, result.stdout) == (0, "")
    assert "devvm create" in result.stderr
    assert cli("list", "--json").json == {"vms": []}


def test_show(cli, dev):
    cli("restart", "dev001")
    data = cli("show", "dev001", "--json").json
    assert set(data) == documented_for("show")
    assert set(data["vm"]) == documented("VM") | documented("Standing")
    assert set(data["disks"][0]) == documented("Disk")
    assert set(data["runs"][0]) == documented("Run")
    assert set(data["runs"][0]["phases"][0]) == {"name", "title", "seconds", "result"}
    text = cli("show", "dev001").stdout
    address = dev.vm("dev001").lease.address
    for part in ("ann", RELEASE, address, "2 CPUs, 2 GiB, qemu", "ca.crt", "20.0 GiB used"):
        assert part in text
    assert re.search(r"^restart dev001: done in ", text, re.MULTILINE)
    assert re.search(r"^Starting the VM +done ", text, re.MULTILINE)


def test_power(cli, dev):
    assert cli("stop", "dev001").stdout == "dev001 is shut off\n"
    assert dev.vm("dev001").state is VmState.SHUTOFF
    assert cli("start", "dev001").stdout == "dev001 is running\n"
    assert cli("restart", "dev001").stdout == "dev001 is running\n"
    assert dev.vm("dev001").state is VmState.RUNNING


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_power_in_json(cli, dev, verb):
    data = cli(verb, "dev001", "--json").json
    assert set(data) == documented_for(verb)
    assert set(data["run"]) == documented("Run")
    assert data["run"]["command"] == f"{verb} dev001"


def test_without_a_name_it_is_the_one_of_the_login(cli, dev, typed_by):
    typed_by("dev001")
    assert cli("stop").stdout == "dev001 is shut off\n"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_the_plug_is_pulled_when_asked(cli, dev, verb):
    cli(verb, "dev001")
    cli("start", "dev001")
    assert "shutdown_force" not in dev.host.calls
    cli(verb, "dev001", "--force")
    assert "shutdown_force" in dev.host.calls


# Verify --------------------------------------------------------------------------------------


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
    there, made = "out/page.html", "made/by/junit.xml"  # pytest makes the folders of this one
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


# Create --------------------------------------------------------------------------------------


@pytest.fixture
def without_box(world, monkeypatch):
    """A host without a box; what building one was asked for."""
    built, there = [], list(world.boxes.boxes)
    world.boxes.boxes.clear()

    def build_box(session, services, **asked):
        built.append(asked)
        world.boxes.boxes.extend(there)

    monkeypatch.setattr(build, "build_box", build_box)
    return built


@pytest.fixture
def configs(world, monkeypatch):
    """The configurations that commands work with."""
    made = []
    monkeypatch.setattr(
        wiring, "build_services", lambda config: made.append(config) or world.services
    )
    return made


def test_create(cli, world):
    text = cli("create").stdout
    for part in ("jane is ready", "devvm ssh jane", "https://jane.devvm.test", RELEASE,
                 "1 of 1 check passed", "ca.crt"):  # fmt: skip
        assert part in text
    facts = world.vm("jane").metadata
    assert (facts.engineer, facts.release, facts.ready) == ("jane", RELEASE, True)


def test_create_in_json(cli, world):
    data = cli("create", "dev1", "--memory", "4G", "--json").json
    assert set(data) == documented_for("create")
    assert set(data["report"]) == documented("Report")
    assert (data["vm"]["name"], data["vm"]["engineer"]) == ("dev1", "jane")
    assert world.vm("dev1").state is VmState.RUNNING


def test_create_takes_the_machine_from_its_options(cli, world, configs):
    cli("create", "dev1", "--cpus", "4", "--memory", "4096", "--root-disk", "40G", "--data-disk",
        "1T", "--driver", "qemu")  # fmt: skip
    vm = configs[0].vm
    assert (vm.cpus, vm.memory_mib, vm.root_gib, vm.data_gib, vm.driver) == (
        4, 4096, 40, 1024, "qemu",
    )  # fmt: skip


def test_a_vm_that_fails_its_checks_is_made_and_said(cli, world, monkeypatch):
    finding(world, monkeypatch, PASSED, FAILED)
    shown = cli("create", "dev1")
    assert shown.code == 3
    assert "redis-server is inactive" in shown.stdout
    assert "devvm verify dev1" in shown.stdout
    assert world.vm("dev1").metadata.ready
    assert cli("create", "dev2", "--json").json["report"]["passed"] is False


def test_root_gives_the_vm_s_name_to_the_account(cli, world, typed_by):
    typed_by("root")
    cli("create", "dev1")
    assert world.vm("dev1").metadata.engineer == "dev1"
    cli("create", "dev2", "--engineer", "jane")
    assert world.vm("dev2").metadata.engineer == "jane"
    result = cli("create")
    assert result.code == 2
    assert "you are root" in result.stderr
    assert "Next: devvm create dev1" in result.stderr


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", "a;reboot", "x" * 64, "Dev1", "dév", "root", "-", "1a", "a\nb"]
)
def test_names_that_can_not_be(cli, world, name):
    result = cli("create", "--json", "--", name)
    assert result.code == 2
    assert result.json["error"]["code"] == "usage"
    assert result.json["error"]["resolution"]
    assert world.host.domains == {}


def test_names_of_box_checks_are_reserved(cli, dev):
    for command in (("create", "boxcheck-01234567"), ("clone", "dev001", "--as", "boxcheck-1")):
        done = cli(*command)
        assert (done.code, done.stdout) == (2, "")
        assert "'boxcheck-' is reserved" in done.stderr
        assert "Next: choose another" in done.stderr
    dev.give("boxcheck-01234567")  # by an older devvm
    assert cli("stop", "boxcheck-01234567").code == 0


def test_a_create_that_fails_leaves_nothing_unless_it_is_kept(cli, world):
    world.provisioner.failing["dev1"] = "personalise"
    assert cli("create", "dev1").code == 1
    assert world.remnants("dev1") == []
    kept = cli("create", "dev1", "--keep")
    assert kept.code == 1
    assert "devvm" in kept.stderr
    assert not world.vm("dev1").metadata.ready


def test_a_missing_box_is_built_first(cli, world, without_box):
    assert cli("create", "dev1", "--yes").code == 0
    assert without_box == [{"release": None, "newest": False, "yes": True}]
    assert world.vm("dev1") is not None


def test_no_box_is_built_for_what_will_be_refused(cli, world, without_box):
    world.host.memory = (2048, 100)
    refused = cli("create", "dev1")
    assert refused.code == 4
    assert "memory" in refused.stderr
    assert without_box == []
    assert world.host.domains == {}


def test_a_box_is_checked_in_the_hosts_usual_vm(cli, world, without_box, configs):
    cli("create", "dev1", "--memory", "4G")
    assert [config.vm.memory_mib for config in configs] == [4096, 2048]


# Ways in -------------------------------------------------------------------------------------


def test_arguments_for_the_vm_are_passed_on_as_they_are(cli, dev):
    dev.shell.asked.clear()
    assert cli("exec", "dev001", "--", "printf", "%s", "--json", "-h").code == 7
    assert cli("exec", "dev001", "ls", "--yes", "-la").code == 7
    assert dev.shell.asked == [
        ("dev001", ["printf", "%s", "--json", "-h"]),
        ("dev001", ["ls", "--yes", "-la"]),
    ]


def test_ssh_ends_with_the_shells_own_code(cli, dev, monkeypatch, typed_by):
    monkeypatch.setattr(dev.shell, "interactive", lambda target, argv: 130)
    result = cli("ssh", "dev001")
    assert (result.code, result.stderr) == (130, "")  # no interrupt of ours
    typed_by("dev001")
    assert cli("ssh").code == 130


def test_logs_and_console(cli, dev, monkeypatch):
    asked = []
    monkeypatch.setattr(
        dev.shell, "run",
        lambda target, argv, **_: asked.append((target.alias, argv)) or (0, "one\n[two]\n", ""),
    )  # fmt: skip
    assert cli("logs", "dev001", "--unit", "nginx", "-n", "5").stdout == "one\n[two]\n"
    ((alias, argv),) = asked
    assert alias == "dev001-vagrant"
    assert argv[:2] == ["sudo", "journalctl"]
    assert {"--unit=nginx", "--lines=5"} <= set(argv)
    assert "Ctrl-]" in cli("console", "dev001").stderr


# Boxes, the host -----------------------------------------------------------------------------


def test_box_list_and_show(cli, world):
    data = cli("box", "list", "--json").json
    assert set(data) == documented_for("box list")
    assert set(data["boxes"][0]) == documented("Box") - {"packages", "packages_moved"}
    text = cli("box", "list").stdout
    assert re.search(rf"^{RELEASE} .*1.0 GiB +12 +yes +current$", text, re.MULTILINE)
    assert re.search(rf"^{NEW} .*1.0 GiB +12 +yes +other$", text, re.MULTILINE)
    assert set(cli("box", "show", RELEASE, "--json").json) == documented("Box")
    assert world.box.sha256 in cli("box", "show", RELEASE).stdout
    assert cli("box", "show", "2026.01.01-000000000000").code == 2


def test_no_boxes(cli, world):
    world.boxes.boxes.clear()
    result = cli("box", "list")
    assert (result.code, result.stdout) == (0, "")
    assert "devvm box build" in result.stderr


def test_box_verify(cli, world):
    done = cli("box", "verify", RELEASE, "--json")
    assert done.code == 0
    assert set(done.json) == documented("Report")
    world.verifier.failing.add(("*", None))  # the VM of a check is nobody's yet
    differs = cli("box", "verify", RELEASE)
    assert differs.code == 3
    assert "unit/nginx.service" in differs.stdout
    assert world.host.domains == {}  # the VM that it was checked in


def test_box_remove(cli, world, monkeypatch):
    """What is kept of its packages: tests/unit/operations/box/test_boxes.py."""
    monkeypatch.setattr(wiring, "build_box_services", lambda config: None)
    monkeypatch.setattr(box_packages, "collect", lambda services, tools: None)
    monkeypatch.setattr(Output, "can_ask", property(lambda self: True))
    monkeypatch.setattr(Output, "ask", lambda self, prompt: "n")
    assert cli("box", "remove", RELEASE).code == 2
    assert world.boxes.find(RELEASE) is not None
    data = cli("box", "remove", RELEASE, "--yes", "--json").json
    assert set(data) == documented_for("box remove")
    assert world.boxes.find(RELEASE) is None


def test_a_box_in_use_is_not_removed(cli, dev, monkeypatch):
    monkeypatch.setattr(wiring, "build_box_services", lambda config: None)
    refused = cli("box", "remove", RELEASE, "--yes")
    assert refused.code == 2
    assert "dev001" in refused.stderr
    assert dev.boxes.find(RELEASE) is not None


def test_box_build_as_root(cli, world, monkeypatch):
    """How one is built: tests/unit/operations/box/test_boxes.py."""
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)
    monkeypatch.setattr(wiring, "build_box_services", lambda config: None)
    calls = fake(monkeypatch, box, "build", world.box)
    assert set(cli("box", "build", "--force", "--json").json) == documented("Box")
    assert calls[0][1] == {"release": None, "force": True, "newest": False}
    assert cli("box", "build", "--no-result").stdout == ""


def test_box_build_as_another_goes_through_sudo(cli, services, monkeypatch, tmp_path):
    from devvm.cli.host import readiness
    from devvm.system import process

    started = []

    def interactive(argv, *, env):
        started.append((argv, env))
        return 4

    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)
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
    from devvm.cli import serializers

    step = serializers.host(setup.HostStatus(steps=(status,)))["steps"][0]
    assert set(step) == {"key", "title", "optional", "done", "needed"}


def test_a_host_that_is_not_ready_ends_with_4(cli, services, monkeypatch):
    from devvm.cli.host import readiness

    def refuse(session, config):
        raise HostNotReadyError("this host is not ready", resolution="devvm setup --yes")

    monkeypatch.setattr(readiness, "require", refuse)
    assert cli("list").code == 4
