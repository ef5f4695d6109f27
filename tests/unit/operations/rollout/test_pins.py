"""pin, unpin: no rollout changes the VM for a while, and who wants that."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from devvm.domain.errors import LockedError, NotFoundError, OperationError, UsageError
from devvm.domain.vm import VmState
from devvm.operations.core import journal
from devvm.operations.rollout import pins
from devvm.operations.vm import lifecycle, rebuild, trash
from tests.support.world import ANN, World

TODAY = date(2026, 11, 23)
FRIDAY = date(2026, 11, 27)


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    return world


def pin(world, *, name="dev1", until=FRIDAY, reason="demo on Friday", by="jane"):
    return pins.pin(
        world.services, name, until=until, reason=reason, by=by, today=TODAY, command=f"pin {name}"
    )


def unpin(world, name="dev1"):
    return pins.unpin(world.services, name, command=f"unpin {name}")


def pinned(world, today=TODAY):
    return pins.pinned(world.vm().metadata, today)


def test_a_pin_is_kept_with_the_vm_and_says_until_when_by_whom_and_why(dev1):
    before = dev1.vm().metadata
    vm = pin(dev1, reason='  demo on Friday, für <alle> & "jeden"  ')
    assert vm == dev1.vm()
    assert pinned(dev1) == ('pinned until 2026-11-27 by jane: demo on Friday, für <alle> & "jeden"')
    changed = {"pinned_until": "2026-11-27", "pinned_by": "jane"}
    assert replace(before, **changed, pin_reason=vm.metadata.pin_reason) == vm.metadata


def test_a_pin_holds_on_its_last_day_and_no_longer(dev1):
    pin(dev1)
    assert pinned(dev1, FRIDAY) is not None
    assert pinned(dev1, FRIDAY + timedelta(days=1)) is None
    assert pins.pinned(None, TODAY) is None


def test_pinning_again_replaces_the_pin(dev1):
    pin(dev1)
    pin(dev1, until=TODAY, reason="today only", by="bob")
    assert pinned(dev1) == "pinned until 2026-11-23 by bob: today only"
    pin(dev1, until=TODAY + timedelta(days=90))
    assert pinned(dev1).startswith("pinned until 2027-02-21 by jane")


def test_unpinning_takes_the_pin_away(dev1):
    before = dev1.vm().metadata
    pin(dev1)
    vm, was_pinned = unpin(dev1)
    assert was_pinned
    assert vm.metadata == before == dev1.vm().metadata
    assert unpin(dev1) == (vm, False)


def test_a_vm_that_is_off_can_be_pinned(dev1):
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    assert pin(dev1).state is VmState.SHUTOFF
    assert pinned(dev1)


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (TODAY - timedelta(days=1), "2026-11-22 is in the past"),
        (TODAY + timedelta(days=91), "2027-02-22 is too far away: a pin lasts at most 90 days"),
    ],
)
def test_days_that_a_pin_can_not_end_on(dev1, until, said):
    with pytest.raises(UsageError) as caught:
        pin(dev1, until=until)
    assert caught.value.brief == said
    assert "--until 20" in caught.value.resolution
    assert pinned(dev1) is None


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", "needs a reason"),
        (" \n ", "needs a reason"),
        ("one\ntwo", "one line"),
        ("\x1b[31mred", "one line"),
        ("nul\x00", "one line"),
        ("\ud800", "one line"),
        ("\ufffe", "one line"),
        ("x" * 201, "at most 200 characters, and this one has 201"),
    ],
)
def test_reasons_that_are_none(dev1, reason, said):
    with pytest.raises(UsageError, match=said):
        pin(dev1, reason=reason)
    assert pinned(dev1) is None


def test_a_vm_that_somebody_is_changing_is_not_pinned_meanwhile(dev1):
    with dev1.state.lock("dev1", "rollout"):
        with pytest.raises(LockedError, match="is being changed"):
            pin(dev1)
        with pytest.raises(LockedError, match="is being changed"):
            unpin(dev1)
    assert pinned(dev1) is None


def test_vms_that_can_not_be_pinned(dev1):
    with pytest.raises(NotFoundError, match="there is no VM dev2"):
        pin(dev1, name="dev2")
    with pytest.raises(NotFoundError):
        unpin(dev1, "dev2")
    dev1.services.domains.set_metadata(dev1.vm().uuid, replace(dev1.vm().metadata, ready=False))
    with pytest.raises(OperationError, match="is unfinished") as caught:
        pin(dev1)
    assert "devvm create dev1" in caught.value.resolution
    dev1.state.open_journal("dev1", journal.REBUILD, {"token": "0a"})
    with pytest.raises(OperationError, match="a rebuild of dev1 has not finished") as caught:
        unpin(dev1)
    assert "devvm doctor --fix" in caught.value.resolution
    dev1.state.close_journal("dev1")
    del dev1.host.domains[dev1.vm().fqdn]
    with pytest.raises(OperationError, match="domain of dev1 is gone"):
        pin(dev1)


def test_a_pin_outlives_a_rebuild_the_trash_and_a_domain_that_is_deleted(dev1):
    pin(dev1)
    run = dev1.run("rebuild dev1")
    rebuild.rebuild(dev1.services, rebuild.RebuildRequest(name="dev1", engineer=ANN), run)
    assert pinned(dev1)
    trash.destroy(dev1.services, "dev1", dev1.run("destroy dev1"))
    assert dev1.vm() is None
    trash.recover(dev1.services, "dev1", dev1.run("recover dev1"))
    assert pinned(dev1)
    unpin(dev1)
    pin(dev1, reason="the newest")
    saved = dev1.state.vm("dev1") / "domain.xml"
    number = int(saved.read_text().split()[1])  # definitions are numbers in this world
    assert dev1.host.definitions[number - 1].facts.pin_reason == "the newest"


def test_going_back_to_an_earlier_state_does_not_take_the_pin_away(dev1):
    run = dev1.run("rebuild dev1")
    rebuild.rebuild(dev1.services, rebuild.RebuildRequest(name="dev1", engineer=ANN), run)
    pin(dev1)
    (earlier,) = trash.items(dev1.services, "dev1")
    recover = dev1.run("recover dev1")
    trash.recover(dev1.services, "dev1", recover, identifier=earlier.id)
    assert dev1.vm().metadata.generation == 2
    assert pinned(dev1) == "pinned until 2026-11-27 by jane: demo on Friday"
