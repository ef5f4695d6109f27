"""`devvm list`, `show`, `start`, `stop`, `restart`, and access to a VM."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from devvm import wiring
from devvm.cli import formatting
from devvm.domain.vm import VmState
from tests.unit.cli.documented import RELEASE, documented, documented_for


@pytest.fixture
def half(dev):
    """Also dev002, whose create was killed."""
    dev.give("dev002")
    domain = dev.host.domains["dev002.devvm.test"]
    dev.host.domains[domain.name] = replace(domain, facts=replace(domain.facts, ready=False))
    return dev


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
    vm = dev.services.domains.vm("dev001")
    for days in (31, 12, -400):
        until = (formatting.today() + timedelta(days=days)).isoformat()
        facts = replace(vm.metadata, certificate_until=until)
        dev.services.domains.set_metadata(vm.uuid, facts)
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


def test_arguments_for_the_vm_are_passed_on_as_they_are(cli, dev):
    dev.shell.asked.clear()
    assert cli("exec", "dev001", "--", "printf", "%s", "--json", "-h").code == 7
    assert cli("exec", "dev001", "ls", "--yes", "-la").code == 7
    assert dev.shell.asked == [
        ("dev001", ["printf", "%s", "--json", "-h"]),
        ("dev001", ["ls", "--yes", "-la"]),
    ]


def test_the_agent_is_forwarded_if_the_person_wants_it(cli, dev, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    wanted = []
    for argv in (
        ("ssh", "dev001"), ("ssh", "-A", "dev001"), ("exec", "--forward-agent", "dev001", "ls"),
        ("exec", "dev001", "ls", "-A"),
    ):  # fmt: skip
        assert cli(*argv).code == 7
        wanted.append(dev.shell.forwards_agent)
    assert wanted == [False, True, True, False]
    ssh = dev.config.ssh.model_copy(update={"forward_agent": True})
    config = dev.config.model_copy(update={"ssh": ssh})
    monkeypatch.setattr(wiring, "build_services", lambda _: replace(dev.services, config=config))
    cli("ssh", "dev001")
    assert dev.shell.forwards_agent
    cli("ssh", "--no-forward-agent", "dev001")
    assert not dev.shell.forwards_agent


def test_without_an_agent_there_is_nothing_to_forward(cli, dev, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    dev.shell.asked.clear()
    result = cli("ssh", "-A", "dev001")
    assert result.code == 2
    assert "ssh-add" in result.stderr
    assert dev.shell.asked == []


def test_ssh_ends_with_the_shells_own_code(cli, dev, monkeypatch, typed_by):
    monkeypatch.setattr(dev.shell, "interactive", lambda target, argv, **more: 130)
    result = cli("ssh", "dev001")
    assert (result.code, result.stderr) == (130, "")  # not an interrupt of devvm itself
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
    followed = cli("logs", "dev001", "--follow", "-u", "nginx", "-u", "redis-server")
    assert followed.code == 7  # the session's own
    assert dev.shell.asked[-1][1][-3:] == ["--unit=nginx", "--unit=redis-server", "--follow"]
    assert "Ctrl-]" in cli("console", "dev001").stderr


def test_pages(cli, dev):
    done = cli("pages", "dev001", "--port", "9000")
    assert done.code == 130
    assert done.stdout.startswith("http://127.0.0.1:9000/?key=")
    assert "Press Ctrl-C" in done.stderr
