"""Updating one VM to a release, by either strategy, and back."""

from dataclasses import replace
from datetime import date

import pytest

from devvm.domain.errors import LockedError, NotFoundError, OperationError, ParityError, UsageError
from devvm.domain.release.strategy import Kind
from devvm.domain.saved_state import Purpose
from devvm.domain.vm import VmState
from devvm.operations.rollout import pins
from devvm.operations.storage import saved_states
from devvm.operations.update import rollback, update
from devvm.operations.vm import lifecycle
from tests.support.fleet_world import BASE_FILES, NEW, ROLE, FleetWorld
from tests.support.world import RELEASE, Killed


@pytest.fixture
def world(tmp_path):
    world = FleetWorld(tmp_path)
    world.fleet(1)
    world.write("dev001", "home/notes", "before")
    return world


def bring(world, release=NEW, **more):
    request = update.UpdateRequest(name="dev001", release=release, **more)
    return update.update(world.services, request, world.run("update dev001"))


def test_a_changed_role_is_applied_where_the_vm_stands(world):
    done = bring(world)
    assert done.strategy.kind is Kind.CONVERGE
    assert world.release_of("dev001") == NEW
    names = [(playbook, tags) for _, playbook, tags, _ in world.provisioner.applied]
    assert names == [("update.yml", ("packages", "nginx")), ("personalise.yml", ())]
    kept = saved_states.find(world.services, done.previous)
    assert (kept.purpose, kept.vm.release) == (Purpose.TRASH, RELEASE)
    assert kept.label == f"before the update to {NEW}"
    facts = world.vm("dev001").metadata
    assert (facts.update_to, facts.restore_point) == ("", "")


def test_a_new_root_where_the_image_changes(world):
    world.add("2026.12.01-bbbbbbbbbbbb", {**BASE_FILES, "roles/guest/tasks/main.yml": b"x"})
    done = bring(world, "2026.12.01-bbbbbbbbbbbb")
    assert done.strategy.kind is Kind.REBUILD
    assert "guest" in done.strategy.reason
    assert saved_states.find(world.services, done.previous).vm.release == RELEASE
    assert world.read("dev001", "home/notes") == "before"


def test_a_new_root_where_one_is_asked_for(world):
    assert bring(world, rebuild=True).strategy.reason == "requested"


def test_packages_need_a_mirror_that_the_vm_can_reach(world):
    packages = {**world.box.packages, "htop": "3.2.2-2"}
    world.add("2026.12.01-bbbbbbbbbbbb", BASE_FILES, packages)
    world.shell.mirror = False
    assert "mirror" in bring(world, "2026.12.01-bbbbbbbbbbbb").strategy.reason


def test_packages_change_to_the_releases_versions(world):
    packages = {**world.box.packages, "htop": "3.2.2-2"}
    world.add("2026.12.01-bbbbbbbbbbbb", BASE_FILES, packages)
    done = bring(world, "2026.12.01-bbbbbbbbbbbb")
    assert done.strategy.kind is Kind.CONVERGE
    assert world.provisioner.applied[0][3]["update_packages"] == ["htop=3.2.2-2"]


def test_a_vm_that_differs_from_its_own_release_gets_a_new_root(world):
    world.verifier.failing.add(("dev001", RELEASE))
    done = bring(world)
    assert done.strategy.kind is Kind.REBUILD
    assert "unit/nginx.service" in done.strategy.reason


def test_a_vm_that_answers_too_late_is_looked_at_once_more(world):
    world.verifier.failing.add(("dev001", NEW))

    def pause(seconds):
        world.pauses.append(seconds)
        world.verifier.failing.clear()

    world.services = replace(world.services, pause=pause)
    assert bring(world).report.passed
    assert world.pauses == [20]
    assert any("checking once more" in note for note in world.reporter.notes)


def test_a_vm_that_is_there_already_is_checked_only(world):
    bring(world)
    world.provisioner.applied.clear()
    again = bring(world)
    assert (again.strategy, again.report.passed) == (None, True)
    assert world.provisioner.applied == []


OTHER = "2026.12.01-bbbbbbbbbbbb"


@pytest.mark.parametrize("off", [False, True])
def test_nobody_changes_a_vm_between_the_look_at_it_and_the_change(world, off):
    world.add(OTHER, {**BASE_FILES, "roles/redis/tasks/main.yml": b"- debug:\n"})
    if off:
        lifecycle.stop(world.services, "dev001", world.run("stop dev001"))
    refused = []

    def other():
        with pytest.raises(LockedError, match="dev001 is being changed") as caught:
            bring(world, OTHER)
        refused.append(caught.value)

    world.verifier.meanwhile = other
    assert bring(world).strategy.roles == ("nginx",)
    assert refused
    assert world.release_of("dev001") == NEW


def test_a_way_that_was_chosen_for_the_vm_as_it_is_no_more_is_not_gone(world):
    world.add(OTHER, {**BASE_FILES, "roles/redis/tasks/main.yml": b"- debug:\n"})
    run = world.run("update dev001")
    record = world.releases.find(NEW)
    choice = update.choose(world.services, world.vm("dev001"), record, run, rebuild=False)
    bring(world, OTHER)
    world.provisioner.applied.clear()
    with pytest.raises(LockedError, match="dev001 changed while its update was being prepared"):
        bring(world, choice=choice)
    assert world.provisioner.applied == []
    assert world.release_of("dev001") == OTHER
    assert world.vm("dev001").metadata.update_to == ""


def test_nobody_is_brought_to_a_release_that_was_retired_meanwhile(world):
    run, record = world.run("update dev001"), world.releases.find(NEW)
    choice = update.choose(world.services, world.vm("dev001"), record, run, rebuild=False)
    world.releases.records[NEW] = replace(record, retired_at="2026-11-30T10:00:00+00:00")
    with pytest.raises(UsageError, match="is retired"):
        bring(world, choice=choice)
    assert world.release_of("dev001") == RELEASE


def test_a_pin_does_not_make_a_choice_void(world):
    run, record = world.run("update dev001"), world.releases.find(NEW)
    choice = update.choose(world.services, world.vm("dev001"), record, run, rebuild=False)
    pins.pin(world.services, "dev001", until=date(2026, 12, 1), reason="demo", by="ann",
             today=date(2026, 11, 30), command="pin dev001")  # fmt: skip
    bring(world, choice=choice)
    assert world.release_of("dev001") == NEW
    assert world.vm("dev001").metadata.pin_reason == "demo"


def test_a_release_that_is_not_on_record_is_refused(world):
    with pytest.raises(NotFoundError, match="not on record"):
        bring(world, "2026.12.01-cccccccccccc")
    assert world.release_of("dev001") == RELEASE


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("what", ["update", "personalise", "parity"])
def test_where_it_fails_the_vm_is_as_it_was_with_the_work_done_meanwhile(world, what, rebuild):
    if what == "parity":
        world.verifier.failing.add(("*", NEW))
    else:
        world.provisioner.failing["dev001"] = what
    if rebuild and what == "update":
        what = "personalise"
        world.provisioner.failing["dev001"] = what
    kind = ParityError if what == "parity" else OperationError
    with pytest.raises(kind, match=f"dev001 could not be updated to {NEW}") as failed:
        bring(world, rebuild=rebuild)
    assert "dev001 gunicorn[7]: no such option" in failed.value.log.read_text()
    vm = world.vm("dev001")
    assert (vm.metadata.release, vm.metadata.ready, vm.state) == (RELEASE, True, VmState.RUNNING)
    assert (vm.metadata.update_to, vm.metadata.restore_point) == ("", "")
    assert world.schema_of("dev001") == RELEASE
    assert world.read("dev001", "home/notes") == "before"
    assert world.state.journal("dev001") is None


def test_going_back_takes_along_what_people_wrote_and_not_what_services_did(world):
    done = bring(world)
    world.write("dev001", "home/notes", "after")
    assert world.schema_of("dev001") == NEW
    report = rollback.go_back(world.machine("dev001"), NEW, done.previous, world.run("back"))
    assert report.release == RELEASE
    assert world.schema_of("dev001") == RELEASE
    assert world.read("dev001", "home/notes") == "after"
    (left,) = saved_states.of_vm(world.machine("dev001"), Purpose.TRASH)
    assert left.vm.release == NEW
    assert not list(world.state.vm("dev001").glob("work-*"))


def test_a_vm_that_was_off_goes_back_and_is_off(world):
    done = bring(world)
    world.services.domains.shutdown(world.vm("dev001"), timeout=0, force=True)
    rollback.go_back(world.machine("dev001"), NEW, done.previous, world.run("back"))
    assert world.vm("dev001").state is VmState.SHUTOFF
    assert world.release_of("dev001") == RELEASE


def test_what_is_not_kept_any_more_can_not_be_gone_back_to(world):
    done = bring(world)
    saved_states.delete(world.services, saved_states.find(world.services, done.previous))
    with pytest.raises(NotFoundError, match="no longer exists"):
        rollback.go_back(world.machine("dev001"), NEW, done.previous, world.run("back"))
    assert world.release_of("dev001") == NEW


@pytest.mark.parametrize("rebuild", [False, True])
def test_killed_anywhere_and_typed_again_it_ends_right(world, tmp_path, rebuild):
    bring(world, rebuild=rebuild)
    steps = len(world.host.calls)
    for number in range(1, steps + 1):
        other = FleetWorld(tmp_path / f"{rebuild}{number}")
        other.fleet(1)
        other.write("dev001", "home/notes", "before")
        other.host.calls.clear()
        other.host.fail_number, other.host.failure = number, Killed()
        with pytest.raises(Killed):
            bring(other, rebuild=rebuild)
        other.again()
        other.host.dead = False
        done = bring(other, rebuild=rebuild and other.release_of("dev001") != NEW)
        vm = other.vm("dev001")
        assert (vm.metadata.release, vm.metadata.ready) == (NEW, True), number
        assert (vm.metadata.update_to, vm.metadata.restore_point) == ("", ""), number
        assert other.read("dev001", "home/notes") == "before", number
        assert done.report.passed
        if done.previous:
            kept = saved_states.find(other.services, done.previous)
            assert kept.vm.release == RELEASE, number


def test_killed_while_it_goes_back_it_goes_back_when_asked_again(world, tmp_path):
    done = bring(world)
    rollback.go_back(world.machine("dev001"), NEW, done.previous, world.run("back"))
    for number in range(1, 60):
        other = FleetWorld(tmp_path / f"{number}")
        other.fleet(1)
        done = bring(other)
        other.write("dev001", "home/notes", "after")
        other.host.calls.clear()
        other.host.fail_number, other.host.failure = number, Killed()
        try:
            rollback.go_back(other.machine("dev001"), NEW, done.previous, other.run("back"))
        except Killed:
            other.again()
            other.host.dead = False
            rollback.go_back(other.machine("dev001"), NEW, done.previous, other.run("back"))
        else:
            break
        assert other.release_of("dev001") == RELEASE, number
        assert other.schema_of("dev001") == RELEASE, number
        assert other.read("dev001", "home/notes") == "after", number
    assert number > 10


def test_an_update_that_was_killed_goes_back_to_what_was_before_the_first_try(world):
    world.host.fail_at, world.host.failure = "converge", Killed()
    with pytest.raises(Killed):
        bring(world)
    world.again()
    world.host.dead = False
    first = world.vm("dev001").metadata.restore_point
    assert first
    assert bring(world).previous == first


def test_pins_stay_with_the_vm(world):
    vm = world.vm("dev001")
    facts = replace(vm.metadata, pinned_until="2026-12-01", pinned_by="ann", pin_reason="demo")
    done = bring(world)
    world.services.domains.set_metadata(vm.uuid, replace(facts, release=NEW))
    rollback.go_back(world.machine("dev001"), NEW, done.previous, world.run("back"))
    assert world.vm("dev001").metadata.pin_reason == "demo"


def test_only_templates_and_files_that_are_gone_need_a_new_root(world):
    files = {**BASE_FILES}
    del files[ROLE]
    world.add("2026.12.01-bbbbbbbbbbbb", files)
    done = bring(world, "2026.12.01-bbbbbbbbbbbb")
    assert done.strategy.kind is Kind.REBUILD
