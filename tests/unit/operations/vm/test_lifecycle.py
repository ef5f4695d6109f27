"""list, show, start, stop, restart, and access."""

import pytest

from devvm.domain.errors import NotFoundError, OperationError, UsageError
from devvm.domain.vm import Engineer, VmState
from devvm.operations.vm import access, create, lifecycle
from tests.support.memory_host import Layer
from tests.support.world import World

ANN = Engineer(login="ann", authorized_keys=(), git_name="Ann", git_email="ann@x.test")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def dev1(world):
    request = create.CreateRequest(name="dev1", engineer=ANN)
    create.create(world.services, request, world.run("create dev1"))
    world.host.calls.clear()
    return world


def test_an_empty_host(world):
    assert lifecycle.list_vms(world.services) == []
    with pytest.raises(NotFoundError) as caught:
        lifecycle.show(world.services, "dev1")
    assert caught.value.resolution == "devvm create dev1"


def test_a_name_that_is_close_is_suggested(dev1):
    with pytest.raises(NotFoundError) as caught:
        lifecycle.show(dev1.services, "dve1")
    assert caught.value.details == "did you mean dev1?"


def test_show(dev1):
    details = lifecycle.show(dev1.services, "dev1")
    assert details.url == "https://dev1.devvm.test/"
    assert [run.command for run in details.runs] == ["create dev1"]
    assert len(details.logs) == 1


def test_logs_are_those_of_the_vm_alone(dev1):
    for command in ("create my-dev1", "create dev1-b", "start dev1"):
        dev1.state.new_log(command)
    names = [p.name for p in lifecycle.show(dev1.services, "dev1").logs]
    assert len(names) == 2
    assert any("-start-dev1-" in name for name in names)


def test_stop_and_start(dev1):
    assert lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1")).state is VmState.SHUTOFF
    assert lifecycle.start(dev1.services, "dev1", dev1.run("start dev1")).state is VmState.RUNNING
    assert [r.command for r in dev1.state.runs("dev1")] == [
        "create dev1",
        "stop dev1",
        "start dev1",
    ]
    calls = dev1.host.calls
    # a VM that is off can't close a connection that was kept open
    assert calls.index("disconnect dev1-vagrant") < calls.index("shutdown")
    assert calls.index("ensure_network") < calls.index("start") < calls.index("wait")


def test_restart_with_force(dev1):
    lifecycle.restart(dev1.services, "dev1", dev1.run("restart dev1"), force=True)
    assert "shutdown_force" in dev1.host.calls
    assert "start" in dev1.host.calls


def test_a_domain_that_was_deleted_behind_our_back(dev1):
    del dev1.host.domains["dev1.devvm.test"]
    (vm,) = lifecycle.list_vms(dev1.services)
    assert vm.state is VmState.MISSING
    with pytest.raises(OperationError, match="is gone") as caught:
        lifecycle.start(dev1.services, "dev1", dev1.run("start dev1"))
    assert "dev1.devvm.test-data." in caught.value.details
    assert "devvm doctor --fix" in caught.value.resolution
    assert "devvm destroy dev1" in caught.value.resolution


def test_disks_alone_are_seen_too(world):
    world.host.volumes["dev1.devvm.test-data.12345678.qcow2"] = Layer()
    assert lifecycle.show(world.services, "dev1").vm.state is VmState.MISSING


def test_ssh_and_exec_are_the_engineers_and_pass_the_code_through(dev1):
    assert access.session(dev1.services, "dev1") == 7
    assert access.session(dev1.services, "dev1", ["false"]) == 7
    assert dev1.shell.asked[-2:] == [("dev1", []), ("dev1", ["false"])]


JOURNALCTL = ["sudo", "journalctl", "--no-pager", "--output=short-iso"]


def test_logs_come_from_the_journal(dev1):
    wanted = access.Wanted(units=("nginx", "redis-server"), lines=5)
    assert access.logs(dev1.services, "dev1", wanted) == "journal\n"
    assert dev1.shell.asked[-1] == (
        "dev1-vagrant", [*JOURNALCTL, "--lines=5", "--unit=nginx", "--unit=redis-server"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        (access.Wanted(), ["--lines=100"]),
        (access.Wanted(since="today"), ["--lines=all", "--since=today"]),
        (access.Wanted(since="today", lines=7), ["--lines=7", "--since=today"]),
    ],
)
def test_followed_logs_go_to_the_terminal(dev1, wanted, options):
    assert access.follow(dev1.services, "dev1", wanted) == 7
    target, argv = dev1.shell.asked[-1]
    assert (target, argv[4:]) == ("dev1-vagrant", [*JOURNALCTL, *options, "--follow"])


@pytest.mark.parametrize("code", [130, -2])
def test_following_logs_ends_with_ctrl_c(dev1, monkeypatch, code):
    monkeypatch.setattr(dev1.shell, "interactive", lambda target, argv: code)
    assert access.follow(dev1.services, "dev1", access.Wanted()) == 130


def test_following_logs_says_that_the_vm_has_stopped(dev1, monkeypatch):
    monkeypatch.setattr(dev1.shell, "interactive", lambda target, argv: 255)
    with pytest.raises(OperationError, match="dev1 has closed the connection"):
        access.follow(dev1.services, "dev1", access.Wanted())

    def stopped(target, argv):
        lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
        return 255

    monkeypatch.setattr(dev1.shell, "interactive", stopped)
    with pytest.raises(OperationError, match="dev1 is not running"):
        access.follow(dev1.services, "dev1", access.Wanted())


def test_logs_since_what_is_not_a_time(dev1, monkeypatch):
    monkeypatch.setattr(dev1.shell, "run", lambda target, argv, **_: (1, "", "Failed to parse"))
    for show in (access.logs, access.follow):
        with pytest.raises(UsageError, match="'noon' is not a time"):
            show(dev1.services, "dev1", access.Wanted(since="noon"))


def test_pages_are_shown_under_an_address_with_their_key(dev1):
    told = []
    dev1.shell.answer = "secret\n"
    assert access.pages(dev1.services, "dev1", 8024, told.append) == 130
    assert told == ["http://127.0.0.1:8024/?key=secret"]
    assert [argv for _, argv in dev1.shell.asked[-3:]] == [
        ["sudo", "systemctl", "start", "devvm-pages.service"],
        ["sudo", "cat", "/run/devvm-pages/key"],
        ["8024", "/run/devvm-pages/http"],
    ]


@pytest.mark.parametrize(
    ("code", "error", "what"),
    [(5, UsageError, "dev1 has no pages"), (1, OperationError, "the pages of dev1 don't start")],
)
def test_a_vm_without_pages(dev1, monkeypatch, code, error, what):
    monkeypatch.setattr(dev1.shell, "run", lambda target, argv, **_: (code, "", "why\n"))
    with pytest.raises(error, match=what):
        access.pages(dev1.services, "dev1", 8024, print)


def test_pages_whose_port_is_in_use(dev1, monkeypatch):
    monkeypatch.setattr(dev1.shell, "forward", lambda target, port, socket: 255)
    with pytest.raises(OperationError, match="under port 8024") as caught:
        access.pages(dev1.services, "dev1", 8024, lambda address: None)
    assert caught.value.resolution == "devvm pages dev1 --port 8025"


def test_a_vm_that_is_off_has_no_way_in(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    for way in (
        lambda: access.session(dev1.services, "dev1"),
        lambda: access.console(dev1.services, "dev1"),
        lambda: access.logs(dev1.services, "dev1", access.Wanted()),
        lambda: access.pages(dev1.services, "dev1", 8024, print),
    ):
        with pytest.raises(OperationError) as caught:
            way()
        assert caught.value.resolution == "devvm start dev1"


def test_a_vm_that_is_being_made_is_waited_for(world):
    world.state.open_journal("dev1", "create", {})
    with pytest.raises(OperationError) as caught:
        access.session(world.services, "dev1", ["true"])
    assert "create, started" in caught.value.details
    assert caught.value.resolution.startswith("wait for it")


def test_a_kept_failure_is_entered_with_devvms_own_account(world):
    world.host.fail_at, world.host.failure = "personalise", OperationError("broken")
    request = create.CreateRequest(name="dev1", engineer=ANN, keep=True)
    with pytest.raises(OperationError):
        create.create(world.services, request, world.run("create dev1"))
    access.session(world.services, "dev1")
    assert world.shell.asked[-1:] == [("dev1-vagrant", [])]
