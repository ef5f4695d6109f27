"""A VM's certificate: renewed before it expires, and mentioned if nothing else renews it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from devvm.domain.check import CheckResult, Outcome
from devvm.domain.vm import VmState
from devvm.operations.doctor import doctor
from devvm.operations.provision import certificate
from devvm.operations.vm import clone, fix, lifecycle, rebuild, snapshots
from tests.support.world import World

#: Midnight may pass during a test without affecting it.
TODAY = datetime.now(UTC).date()


def day(days):
    """The date in this many days."""
    return (TODAY + timedelta(days=days)).isoformat()


#: When certificates signed by the world's CA today expire.
FRESH = {day(days) for days in (823, 824, 825)}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.create()
    return made


def noted(world, name="dev1"):
    return world.services.domains.vm(name).metadata.certificate_until


def ends(world, until):
    """Make dev1's certificate expire on some day, in fact and in its metadata."""
    vm = world.services.domains.vm("dev1")
    facts = replace(vm.metadata, certificate_until=until)
    world.services.domains.set_metadata(vm.uuid, facts)
    world.shell.answer = f"SITE CHAIN until {until or day(20)}\n"
    world.shell.asked.clear()


def installed(world):
    """How many times something was installed in a VM."""
    return world.shell.asked.count(("dev1-vagrant", ["sudo", "sh", "-s"]))


def test_a_new_vm_has_one_for_two_years(world):
    assert noted(world) in FRESH


@pytest.mark.parametrize("days", [92, 400])
def test_one_that_is_good_for_long_is_left_and_nobody_asks_for_it(world, days):
    ends(world, day(days))
    lifecycle.restart(world.services, "dev1", world.run("restart dev1"))
    assert ("dev1-vagrant", ["sudo", "cat", "/data/identity/site.crt"]) not in world.shell.asked
    assert "certificate" not in world.reporter.phases


@pytest.mark.parametrize("days", [88, 0, -400])
def test_one_that_ends_soon_is_renewed_when_the_vm_starts(world, days):
    ends(world, day(days))
    lifecycle.restart(world.services, "dev1", world.run("restart dev1"))
    assert noted(world) in FRESH
    assert "certificate" in world.reporter.phases


def test_one_whose_end_is_not_known_is_looked_at(world):
    ends(world, "")
    world.shell.answer = f"SITE CHAIN until {day(300)}\n"
    lifecycle.restart(world.services, "dev1", world.run("restart dev1"))
    assert noted(world) == day(300)
    assert "certificate" not in world.reporter.phases


def test_a_vm_starts_though_its_certificate_can_not_be_renewed(world):
    ends(world, day(10))
    world.shell.answer = "nonsense"
    vm = lifecycle.restart(world.services, "dev1", world.run("restart dev1"))
    assert vm.state is VmState.RUNNING
    assert noted(world) == day(10)
    (note,) = [n for n in world.reporter.notes if "certificate" in n]
    assert note.startswith("The certificate of dev1 could not be renewed: a certificate can't be")


def test_what_is_installed_is_whole_and_new(world):
    """Private keys stay in the VM: the certificate is for its existing key."""
    scripts = []
    was = world.services.shell.run

    def run(target, argv, *, stdin=None, **options):
        if argv[-1] == "-s":
            scripts.append(stdin)
        return was(target, argv, stdin=stdin, **options)

    world.services.shell.run = run
    ends(world, day(10))
    vm = world.services.domains.vm("dev1")
    certificate.renew(world.services, vm, world.run("doctor"))
    (script,) = scripts
    assert f"SITE CHAIN until {noted(world)}\n" in script
    assert "\nCA\n" in script
    assert "@" not in script
    assert "KEY" not in script


def test_a_new_root_gets_what_the_old_one_would_have_lost(world):
    """The data disk outlives every root; an expired certificate on it would fail every rebuild."""
    ends(world, day(-1))
    request = rebuild.RebuildRequest(
        name="dev1", engineer=world.services.domains.vm("dev1").metadata.owner
    )
    rebuild.rebuild(world.services, request, world.run("rebuild dev1"))
    assert noted(world) in FRESH
    assert world.services.domains.vm("dev1").metadata.ready


def test_a_snapshot_of_long_ago_gets_one_when_it_is_back(world):
    ends(world, day(-200))
    snapshots.create(world.services, "dev1", "old", world.run("snapshot create"))
    ends(world, day(500))
    world.shell.answer = f"SITE CHAIN until {day(-200)}\n"
    snapshots.restore_snapshot(world.services, "dev1", "old", world.run("snapshot restore"))
    assert noted(world) in FRESH


def test_a_clone_has_its_own(world):
    ends(world, day(10))
    clone.clone(world.services, "dev1", "dev2", world.run("clone dev1"))
    assert noted(world, "dev2") in FRESH
    assert noted(world) == day(10)


def test_doctor_speaks_of_one_that_ends_while_the_vm_runs_on(world):
    ends(world, day(31))
    assert doctor.examine(world.services).findings == ()
    ends(world, day(12))
    (found,) = doctor.examine(world.services).findings
    assert (found.kind, found.subject) == ("certificate", "dev1")
    assert found.problem == f"its certificate expires on {day(12)}"
    (treated,) = doctor.fix(world.services, world.run("doctor --fix"))
    assert treated.fixed
    assert noted(world) in FRESH
    assert installed(world) == 1
    ends(world, day(-12))
    (found,) = doctor.examine(world.services).findings
    assert found.problem == f"its certificate expired on {day(-12)}"


def test_doctor_does_not_speak_of_a_vm_that_gets_a_new_one_when_it_starts(world):
    ends(world, day(-12))
    lifecycle.stop(world.services, "dev1", world.run("stop dev1"))
    assert doctor.examine(world.services).findings == ()


def test_doctor_says_why_it_could_not_be_renewed(world):
    ends(world, day(12))
    world.shell.answer = "nonsense"
    (treated,) = doctor.fix(world.services, world.run("doctor --fix"))
    assert not treated.fixed
    assert treated.error.startswith("a certificate can't be read")


@pytest.mark.parametrize("check", ["tls/site/trusted", "tls/site/days-left"])
def test_verify_fix_renews_one_that_clients_do_not_take(world, check):
    """Whatever date is recorded: another CA may have signed it."""
    ends(world, day(400))
    outcomes = iter([Outcome.FAILED, Outcome.PASSED])
    world.services.verifier.check = lambda *_, **__: (
        CheckResult(name=check, role="nginx", outcome=next(outcomes)),
    )
    fix.fix(world.services, "dev1", world.run("verify --fix dev1"))
    assert noted(world) in FRESH
