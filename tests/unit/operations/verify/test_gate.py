"""What a failed check means to a person: who has to fix it, and what to do next."""

from dataclasses import replace

import pytest

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import OperationError, ParityError
from devvm.domain.release.stack import Release
from devvm.operations.box import check
from devvm.operations.verify import gate, verify
from tests.support.world import World

CHECK = CheckResult(name="unit/nginx.service", role="nginx", outcome=Outcome.PASSED)
OTHER = "2026.11.01-abcdefabcdef"


def failing(name, role):
    return replace(CHECK, name=name, role=role, outcome=Outcome.FAILED, message="it is off\nmore")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def refused(world, *checks, **more):
    report = Report(vm="dev1", release=world.box.release, checks=checks, seconds=1)
    arguments = {
        "what": "the box",
        "outcome": "it is not registered",
        "resolution": "devvm box build",
    }
    with pytest.raises(more.get("kind", OperationError)) as caught:
        gate.demand_passed(
            world.services, report, world.run("box build"), **{**arguments, **more}
        )  # fmt: skip
    return caught.value


def test_the_roles_answer_that_are_concerned_the_most_first(world):
    checks = [failing(f"unit/{n}", "nginx") for n in range(2)] + [failing("unit/x", "base"), CHECK]
    error = refused(world, *checks)
    assert error.brief == "the box fails 3 of 4 checks; it is not registered"
    assert error.details.splitlines() == [
        "unit/0: it is off",
        "unit/1: it is off",
        "unit/x: it is off",
        "Report to: the platform team (failed checks by role: nginx 2, base 1)",
    ]
    assert error.resolution == (
        "send the log to the platform team; once the roles are fixed: devvm box build"
    )
    assert error.log == world.run("box build").log(world.services.state)


def test_the_box_of_another_release_is_named_where_there_is_one(world):
    world.boxes.boxes = [world.box, replace(world.box, release=OTHER)]
    error = refused(world, failing("unit/x", "base"))
    assert f"meanwhile you can use another box: devvm create --release {OTHER};" in error.resolution
    assert error.details.endswith("(failed checks by role: base 1)")


def test_a_vm_says_what_it_was_checked_against_and_how_it_is(world):
    world.boxes.boxes = [world.box, replace(world.box, release=OTHER)]
    error = refused(
        world, failing("unit/x", "base"), what="dev1", against="on the release r",
        outcome="it is as it was before", meanwhile="meanwhile you can use dev1 as it was",
        kind=ParityError,
    )  # fmt: skip
    assert error.brief == ("dev1 fails 1 of 1 checks on the release r; it is as it was before")
    assert "you can use dev1 as it was;" in error.resolution
    assert OTHER not in error.resolution


def test_twenty_checks_are_named_and_the_others_counted(world):
    error = refused(world, *(failing(f"unit/{n:02}", "base") for n in range(25)))
    assert len(error.details.splitlines()) == 22
    assert "unit/19: it is off\nand 5 more\nReport to: " in error.details


def test_no_check_at_all_is_no_pass(world):
    assert refused(world).details == "no check ran"


# Which packages the release has


def test_the_packages_of_a_release_are_its_boxs_or_those_on_record(world):
    box = replace(world.box, packages={"a": "1"})
    world.boxes.boxes = [box]
    assert verify.packages_of(world.services, box.release) == ({"a": "1"}, "box")
    candidate = replace(box, packages={"a": "2"})
    assert verify.packages_of(world.services, box.release, candidate) == ({"a": "2"}, "box")
    world.releases.write(
        Release(release=box.release, created_at="", created_by="", packages={"a": "3"})
    )
    world.boxes.boxes = [replace(box, packages={})]
    assert verify.packages_of(world.services, box.release) == ({"a": "3"}, "record")
    world.boxes.boxes = []
    assert verify.packages_of(world.services, box.release) == ({"a": "3"}, "record")
    assert verify.packages_of(world.services, OTHER) == (None, None)


def test_a_report_says_what_told_them(world):
    box = replace(world.box, packages={"a": "1"})
    assert check.check(world.services, box, world.run("box verify")).packages_from == "box"
    assert world.verifier.packages == {"a": "1"}
    box = replace(box, packages={})
    world.boxes.boxes = []
    assert check.check(world.services, box, world.run("box verify")).packages_from is None
    assert world.verifier.packages is None
