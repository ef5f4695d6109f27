"""list, show, start, stop, restart, and access."""

import pytest

from devvm.domain.errors import NotFoundError, OperationError
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


def test_logs_come_from_the_journal(dev1):
    assert access.logs(dev1.services, "dev1", "nginx", 5) == "journal\n"
    assert [a for a in dev1.shell.asked if "journalctl" in a[1]] == [
        ("dev1-vagrant", ["sudo", "journalctl", "--no-pager", "--lines=5", "--unit=nginx"])
    ]


def test_a_vm_that_is_off_has_no_way_in(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    for way in (
        lambda: access.session(dev1.services, "dev1"),
        lambda: access.console(dev1.services, "dev1"),
        lambda: access.logs(dev1.services, "dev1", None, 5),
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
