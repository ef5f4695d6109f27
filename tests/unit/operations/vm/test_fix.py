"""`verify --fix`: which roles are applied, and what remains."""

import pytest

from devvm.domain.check import CheckResult, Outcome
from devvm.domain.errors import NotFoundError, OperationError
from devvm.domain.run import AnsibleResult
from devvm.operations.vm import fix, lifecycle
from tests.support.world import World


def check(name, role, outcome=Outcome.FAILED):
    return CheckResult(name=name, role=role, outcome=outcome)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.create()
    made.applied = []

    def apply(playbook, target, *, variables, detail, log, tags=()):
        made.applied.append((playbook, tuple(tags)))
        return AnsibleResult(ok=3, changed=2)

    made.services.provisioner.apply = apply
    return made


def finding(world, *reports):
    """Make the suite return these reports, one after the other."""
    answers = iter(reports)
    world.services.verifier.check = lambda *_, **__: next(answers)


def do(world):
    return fix.fix(world.services, "dev1", world.run("verify --fix dev1"))


def test_the_roles_that_answer_are_applied_in_the_stacks_order(world):
    bad = [check("unit/redis", "redis"), check("file/etc/x", "base"), check("a", "guest")]
    good = [check(one.name, one.role, Outcome.PASSED) for one in bad]
    finding(world, bad, [*good[:2], bad[2]])
    done = do(world)
    assert world.applied == [("site.yml", ("base", "redis")), ("personalise.yml", ())]
    assert done.roles == ("base", "redis")
    assert done.changed == 2
    assert [one.name for one in done.fixed] == ["unit/redis", "file/etc/x"]
    assert [one.name for one in done.after.failures()] == ["a"]
    assert world.reporter.phases == ["verify", "converge", "personalise", "verify"]
    assert world.state.runs("dev1")[-1].result == "done"


def test_what_no_role_of_the_stack_answers_for_is_the_overlays(world):
    finding(world, [check("a", "guest")], [check("a", "guest", Outcome.PASSED)])
    assert do(world).roles == ()
    assert world.applied == [("personalise.yml", ())]


def test_nothing_to_mend(world):
    finding(world, [check("a", "base", Outcome.PASSED), check("b", "base", Outcome.WAIVED)])
    done = do(world)
    assert done.before is done.after
    assert world.applied == []


def test_a_vm_that_does_not_run(world):
    lifecycle.stop(world.services, "dev1", world.run("stop"))
    with pytest.raises(OperationError, match="is not running") as caught:
        do(world)
    assert caught.value.resolution == "devvm start dev1"
    with pytest.raises(NotFoundError):
        fix.fix(world.services, "dev9", world.run("verify"))
