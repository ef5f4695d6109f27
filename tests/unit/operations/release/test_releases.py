"""`devvm release`: records only what its box passes against, and changes nothing else."""

from dataclasses import replace

import pytest

from devvm.domain.check import Outcome
from devvm.domain.errors import LockedError, NotFoundError, OperationError, UsageError
from devvm.domain.release.identity import new_release
from devvm.domain.release.stack import Release
from devvm.domain.rollout.plan import Plan, Terms
from devvm.domain.rollout.state import Event, State
from devvm.operations.release import releases
from devvm.operations.rollout import store
from tests.support.world import RELEASE, World

PRESENT = "0123456789ab"
OTHER = "2026.01.01-aaaaaaaaaaaa"


@pytest.fixture
def world(tmp_path):
    """A host with the working tree's box, verified against the working tree's production."""
    made = World(tmp_path)
    made.box = replace(
        made.box,
        release=new_release(PRESENT),
        production_sha256=made.releases.production_in_hand,
    )
    made.boxes.boxes = [made.box]
    return made


def create(world, **more):
    return releases.create(world.services, world.run("release create"), by="jane", **more)


def an_earlier_release(world, name=OTHER, **more):
    """A recorded earlier release of the stack."""
    record = Release(release=name, created_at="2026-01-01T00:00:00+00:00", created_by="joe", **more)
    world.releases.write(record)
    return record


def checked_vms(world):
    """How many VMs were created for a check."""
    return world.host.calls.count("verify")


def test_the_first_release_is_put_on_record(world):
    created = create(world, note="the first")
    record = created.listed.record
    assert created.new
    assert world.releases.list() == [record]
    assert record.release == world.box.release
    assert (record.created_by, record.note, record.previous) == ("jane", "the first", None)
    assert record.changes == ()
    assert record.packages == world.box.packages
    assert created.listed.box


def test_the_next_release_says_what_it_brings_since_the_newest_current_one(world):
    an_earlier_release(world, packages={"mariadb-server": "1:10.11.6-0+deb12u1"})
    retired = an_earlier_release(world, "2026.01.02-bbbbbbbbbbbb")
    world.releases.change(
        replace(retired, created_at="2026-01-02T00:00:00+00:00", retired_at="2026-01-03T00:00:00")
    )
    world.releases.files_in_hand["playbooks/site.yml"] = b"- hosts: web\n"
    record = create(world).listed.record
    assert record.previous == OTHER
    assert record.changes == ("1 package changed", "playbook site.yml changed")


def test_a_box_that_was_just_verified_is_not_verified_again(world):
    create(world)
    assert checked_vms(world) == 0


@pytest.mark.parametrize("known", ["", "another"])
def test_a_box_of_which_that_is_not_known_is_verified_first(world, known):
    world.boxes.boxes = [replace(world.box, production_sha256=known)]
    assert create(world).new
    assert checked_vms(world) == 1
    assert world.services.domains.vms() == []


def test_a_box_that_does_not_pass_is_not_put_on_record(world):
    world.releases.production_in_hand = "q" * 64
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(OperationError, match="fails 1 of 1 checks") as caught:
        create(world)
    assert "unit/nginx.service" in caught.value.details
    assert world.releases.list() == []


def test_a_release_on_record_stays_as_it_is(world):
    first = create(world, note="mine").listed.record
    again = releases.create(world.services, world.run("release create"), by="joe")
    assert not again.new
    assert not again.production_renewed
    assert world.releases.list() == [first]
    assert "already on record" in world.reporter.notes[-1]
    assert checked_vms(world) == 0


def test_another_production_takes_over_when_the_box_passes_against_it(world):
    first = create(world).listed.record
    world.releases.production_in_hand = "q" * 64
    again = create(world)
    assert again.production_renewed
    assert checked_vms(world) == 1
    assert world.releases.production_sha256(first.release) == "q" * 64
    assert world.releases.list() == [first]


def test_another_production_that_the_box_does_not_pass_against_changes_nothing(world):
    first = create(world, note="mine").listed.record
    kept = world.releases.production_sha256(first.release)
    world.releases.production_in_hand = "q" * 64
    world.verifier.outcome = Outcome.FAILED
    with pytest.raises(OperationError, match="is unchanged"):
        create(world, note="other")
    assert world.releases.list() == [first]
    assert world.releases.production_sha256(first.release) == kept


def test_a_note_can_be_given_later_and_is_not_lost_without_one(world):
    create(world)
    assert create(world, note="HTTP/2").listed.record.note == "HTTP/2"
    assert create(world).listed.record.note == "HTTP/2"
    assert create(world, note="").listed.record.note == ""


def test_without_a_box_there_is_no_release(world):
    world.boxes.boxes = []
    with pytest.raises(NotFoundError, match="no box of the working tree"):
        create(world)


def test_a_box_of_which_the_packages_are_not_known_is_no_release(world):
    world.boxes.boxes = [replace(world.box, packages={})]
    with pytest.raises(OperationError, match="the packages in the box"):
        create(world)
    assert world.releases.list() == []


def test_records_are_changed_by_one_at_a_time_and_a_vm_may_be_called_release(world):
    with world.state.lock("release", "create release"):
        create(world)
    with world.state.lock(releases._LOCK, "release create"):
        with pytest.raises(LockedError, match="the record of releases is being changed"):
            create(world)
        with pytest.raises(LockedError):
            releases.retire(world.services, "latest", world.run("release retire"))


def test_the_list_says_who_is_on_a_release_and_whether_its_box_is_here(world):
    an_earlier_release(world, f"2026.01.01-{RELEASE[-12:]}")
    world.boxes.boxes.append(replace(world.box, release=RELEASE))
    world.create(release=RELEASE)
    create(world)
    an_earlier_release(world, "2025.01.01-cccccccccccc")
    found = {listed.record.release: listed for listed in releases.list_releases(world.services)}
    assert found[f"2026.01.01-{RELEASE[-12:]}"].vms == ("dev1",)
    assert found[f"2026.01.01-{RELEASE[-12:]}"].box
    assert found[world.box.release].vms == ()
    assert not found["2025.01.01-cccccccccccc"].box


def test_a_release_is_found_by_its_name_and_the_newest_current_one_as_latest(world):
    earlier = an_earlier_release(world)
    newest = create(world).listed.record
    assert releases.find(world.services, f"2020.02.02-{OTHER[-12:]}") == earlier
    assert releases.find(world.services, "latest") == newest
    releases.retire(world.services, "latest", world.run("release retire"))
    assert releases.find(world.services, "latest") == earlier


def test_what_is_no_release_and_what_is_not_on_record_is_said(world):
    with pytest.raises(UsageError, match="'dev1' is not a release"):
        releases.show(world.services, "dev1")
    with pytest.raises(NotFoundError, match="not on record"):
        releases.show(world.services, OTHER)
    with pytest.raises(NotFoundError, match="no current release") as caught:
        releases.show(world.services, "latest")
    assert caught.value.resolution == "devvm release create"


def test_a_difference_is_told_both_ways_round(world):
    tzdata = {"tzdata": "2024b-0+deb12u1"}
    an_earlier_release(world, packages={**world.box.packages, **tzdata})
    world.releases.files_in_hand["roles/base/vars/main.yml"] = b"base_packages: [tzdata]\n"
    world.boxes.boxes = [
        replace(world.box, packages={**world.box.packages, "tzdata": "2025a-0+deb12u1"})
    ]
    create(world)
    there = releases.diff(world.services, OTHER, "latest")
    back = releases.diff(world.services, "latest", OTHER)
    assert there.words == ("tzdata 2024b → 2025a", "new role: base")
    assert back.words == ("tzdata 2025a → 2024b", "removed role: base")
    assert there.difference.new_roles == back.difference.gone_roles == ("base",)


def test_a_release_is_no_different_from_itself(world):
    create(world)
    same = releases.diff(world.services, "latest", "latest")
    assert same.words == ()
    assert not same.difference.any


def test_a_release_that_vms_are_on_is_not_retired(world):
    record = an_earlier_release(world, RELEASE)
    world.boxes.boxes.append(replace(world.box, release=RELEASE))
    world.create(release=RELEASE)
    newer = create(world).listed.record
    with pytest.raises(UsageError, match="VMs run it") as caught:
        releases.retire(world.services, RELEASE, world.run("release retire"))
    assert caught.value.details == "dev1"
    assert newer.release in caught.value.resolution
    assert record in world.releases.list()


def test_a_release_that_a_rollout_brings_to_vms_is_not_retired(world):
    record = create(world).listed.record
    terms = Terms(release=record.release)
    log = store.new(world.services, Plan(by="jane", terms=terms, waves=()))
    log.append(Event(at=store.now(), by="jane", what=State.PAUSED))
    with pytest.raises(UsageError, match="the rollout r1 updates VMs to it") as caught:
        releases.retire(world.services, "latest", world.run("release retire"))
    assert caught.value.resolution == "devvm rollout abort"


@pytest.mark.parametrize(
    ("update_by", "next_step"), [("r7", "devvm rollout rollback r7"), ("", "devvm update dev1")]
)
def test_a_release_that_a_vm_is_on_its_way_to_is_not_retired(world, update_by, next_step):
    world.create(release=world.box.release)
    record = an_earlier_release(world)
    vm = world.vm("dev1")
    due = replace(vm.metadata, update_to=record.release, update_by=update_by)
    world.services.domains.set_metadata(vm.uuid, due)
    with pytest.raises(UsageError, match="being updated to it") as caught:
        releases.retire(world.services, record.release, world.run("release retire"))
    assert caught.value.details == "dev1"
    assert next_step in caught.value.resolution


def test_a_retired_release_stays_on_record_and_can_become_current_again(world):
    record = create(world).listed.record
    retired = releases.retire(world.services, "latest", world.run("release retire")).record
    assert retired.retired_at
    assert world.releases.list() == [retired]
    again = releases.retire(world.services, record.release, world.run("release retire"))
    assert again.record == retired
    assert "already retired" in world.reporter.notes[-1]
    assert create(world).listed.record == record
    assert world.releases.list() == [record]
