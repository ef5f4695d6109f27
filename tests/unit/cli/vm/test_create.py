"""`devvm create`: what it creates, for whom, on which box, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from devvm import wiring
from devvm.cli.box import build
from devvm.domain.vm import VmState
from tests.unit.cli.conftest import FakeInvoker
from tests.unit.cli.documented import RELEASE, documented, documented_for
from tests.unit.cli.findings import FAILED, PASSED, finding


@pytest.fixture
def without_box(world, monkeypatch):
    """A host without a box; yields the requests to build one."""
    built, there = [], list(world.boxes.boxes)
    world.boxes.boxes.clear()

    def build_box(session, services, **asked):
        built.append(asked)
        world.boxes.boxes.extend(there)

    monkeypatch.setattr(build, "build_box", build_box)
    return built


@pytest.fixture
def configs(world, monkeypatch):
    """The configurations that commands used."""
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


def test_create_takes_what_is_the_person_s_from_their_configuration(
    cli, world, configs, monkeypatch, tmp_path
):
    monkeypatch.setattr(wiring, "invoker", lambda: Asked("jane"))
    file = tmp_path / ".config/devvm/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "[engineer]\nshell = '/usr/bin/zsh'\ndotfiles = '~/dots'\n[engineer.branches]\nshop = 'a'\n"
    )
    result = cli("create", "dev1")
    assert Asked.last == {"shell": "/usr/bin/zsh", "dotfiles": Path("~/dots")}
    assert configs[0].engineer.branches == {"shop": "a"}
    assert world.vm("dev1").metadata.shell == "/usr/bin/zsh"
    assert "the box has no package zsh" in result.stderr


class Asked(FakeInvoker):
    last = None

    def engineer(self, login, key_files=(), *, shell=None, dotfiles=None):
        Asked.last = {"shell": shell, "dotfiles": dotfiles}
        return replace(super().engineer(login), shell=shell)


@pytest.mark.parametrize(
    ("value", "said"),
    [("shop", "is not an application, = and a branch"), ("=x", "no branch can be chosen"),
     ("shop=-f", "= and a branch"), ("shop=x", "no branch can be chosen for shop")],
)  # fmt: skip
def test_a_branch_of_nothing_is_refused(cli, world, value, said):
    result = cli("create", "dev1", "--branch", value)
    assert result.code == 2
    assert said in " ".join(result.stderr.split())
    assert world.vm("dev1") is None


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
    dev.give("boxcheck-01234567")  # made by an older devvm
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
