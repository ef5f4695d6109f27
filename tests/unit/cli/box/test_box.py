"""`devvm box ...`: text, JSON, and becoming root."""

import re

from devvm import wiring
from devvm.cli.box import build
from devvm.cli.output import Output
from devvm.operations.box import boxes as box
from devvm.operations.box import packages as box_packages
from tests.support.fleet_world import NEW
from tests.unit.cli.documented import RELEASE, documented, documented_for, fake


def test_box_list_and_show(cli, world):
    data = cli("box", "list", "--json").json
    assert set(data) == documented_for("box list")
    assert set(data["boxes"][0]) == documented("Box") - {"packages", "packages_moved"}
    text = cli("box", "list").stdout
    assert re.search(rf"^{RELEASE} .*1.0 GiB +12 +yes +no +current$", text, re.MULTILINE)
    assert re.search(rf"^{NEW} .*1.0 GiB +12 +yes +no +other$", text, re.MULTILINE)
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
    world.verifier.failing.add(("*", None))  # a check's VM has no data yet
    differs = cli("box", "verify", RELEASE)
    assert differs.code == 3
    assert "unit/nginx.service" in differs.stdout
    assert world.host.domains == {}  # the VM that it was checked in


def test_box_warm_and_back(cli, world):
    made = cli("box", "warm", RELEASE, "--json")
    assert made.code == 0
    assert set(made.json) == documented("Box")
    assert made.json["warm"]["fits"].startswith(
        "QEMU 7.2 with the processor qemu64, 2 CPUs, 2048 MiB"
    )
    assert re.search(rf"^{RELEASE} .* yes +yes +current$", cli("box", "list").stdout, re.MULTILINE)
    assert "Warm       for QEMU 7.2" in cli("box", "show", RELEASE).stdout
    gone = cli("box", "warm", "--remove", "--json")
    assert gone.json == {"release": RELEASE, "removed": True}
    assert cli("box", "warm", RELEASE, "--remove").stdout == f"{RELEASE} has no warm box\n"
    assert f"no; to make one: devvm box warm {RELEASE}" in cli("box", "show", RELEASE).stdout


def test_box_warm_of_one_that_does_not_pass(cli, world):
    world.verifier.failing.add(("*", None))
    done = cli("box", "warm", RELEASE)
    assert done.code == 3
    assert "it is not warm" in done.stderr
    assert cli("box", "warm", "2026.01.01-000000000000").code == 2


def test_box_remove(cli, world, monkeypatch):
    """For the packages it keeps, see tests/unit/operations/box/test_box_packages.py."""
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
    """For the build itself, see tests/unit/operations/box/test_boxes.py."""
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)
    monkeypatch.setattr(wiring, "build_box_services", lambda config: None)
    calls = fake(monkeypatch, box, "build", world.box)
    assert set(cli("box", "build", "--force", "--json").json) == documented("Box")
    assert calls[0][1] == {"release": None, "force": True, "newest": False}
    assert cli("box", "build").stderr.endswith("Next: devvm create\n")
    done = cli("box", "build", "--no-result")
    assert (done.stdout, done.stderr) == ("", "")


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
    assert (result.code, result.stderr) == (4, "")  # the process started by sudo has reported it
    argv, env = started[0]
    assert argv[0] == "sudo"
    assert argv[-6:] == ["box", "build", "--no-result", "--release", RELEASE, "--yes"]
    assert "DEVVM_CONFIG" in argv[1]
    assert env["XDG_CONFIG_HOME"] == str(tmp_path / ".config")
    failed = cli("box", "build", "--json")
    assert failed.code == 4
    assert failed.json["error"]["exit_code"] == 4
