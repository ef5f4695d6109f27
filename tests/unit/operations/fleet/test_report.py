"""The fleet report: how far behind VMs are, failed checks, free resources of the host."""

from dataclasses import replace

import pytest

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.domain.release.age import behind
from devvm.domain.release.stack import Release
from devvm.domain.vm import VmState
from devvm.operations.fleet import report as fleet_report
from devvm.operations.fleet import status
from devvm.operations.fleet.status import Standing
from devvm.operations.verify import last_result
from devvm.operations.vm import clone, snapshots, trash
from tests.support.world import GIB, RELEASE, World

NEWER, NEWEST = "2026.12.01-bbbbbbbbbbbb", "2026.12.08-cccccccccccc"
FAILED = CheckResult(name="unit/x", role="r", outcome=Outcome.FAILED, message="it is off")


def release(name, created_at, **more):
    return Release(release=name, created_at=created_at, created_by="pat", **more)


ON_RECORD = [release(NEWEST, "2026-12-08"), release(NEWER, "2026-12-01"), release(RELEASE, "2026")]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    for name in ("dev1", "dev2"):
        made.create(name)
    for record in ON_RECORD:
        made.releases.write(record)
    return made


def look(world):
    return fleet_report.look(world.services, rollouts=5)


def fails(world, name, *checks):
    report = Report(vm=name, release=RELEASE, checks=checks, seconds=1.0)
    last_result.keep(world.state, report)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (NEWEST, 0),
        (NEWER, 1),
        (RELEASE, 2),
        ("2025.01.01-1a2b3c4d5e6f", 2),  # the same content
        ("2026.11.23-000000000000", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_how_far_behind_a_release_is(name, number):
    assert behind(name, ON_RECORD) == number


def test_nobody_is_behind_a_release_that_is_retired():
    retired = [replace(ON_RECORD[0], retired_at="2026-12-09"), *ON_RECORD[1:]]
    assert [behind(r.release, retired) for r in retired] == [0, 0, 1]
    assert behind(RELEASE, []) is None


def test_how_vms_stand(world):
    fails(world, "dev2", FAILED)
    machines = [world.vm("dev1"), world.vm("dev2"), replace(world.vm("dev1"), metadata=None)]
    assert status.of(world.services, machines[2:]) == {"dev1": Standing()}
    found = status.of(world.services, machines[:2])
    assert [found[name].behind for name in ("dev1", "dev2")] == [2, 2]
    assert [found[name].parity.passed for name in ("dev1", "dev2")] == [True, False]


def test_vms_are_listed_where_a_release_can_not_be_read(world):
    def damaged():
        raise OperationError("a release can't be read")

    world.releases.list = damaged
    assert status.of(world.services, [world.vm()])["dev1"].behind is None
    with pytest.raises(OperationError):
        look(world)


def test_releases_over_the_fleet(world):
    fails(world, "dev2", FAILED)
    world.create("dev3")
    (world.state.vm("dev3") / "parity.json").unlink()
    fleet = look(world)
    lines = {
        one.release: (one.behind, one.vms_total, one.vms_matching, one.vms_differing)
        for one in fleet.releases
    }
    assert lines == {NEWEST: (0, 0, 0, 0), NEWER: (1, 0, 0, 0), RELEASE: (2, 3, 1, 1)}
    assert [one.vm.name for one in fleet.behind] == ["dev1", "dev2", "dev3"]
    assert (fleet.running, fleet.latest, fleet.differing) == (3, 0, 1)


def test_a_release_that_vms_have_and_that_is_not_on_record_is_there_too(world):
    world.releases.records.clear()
    (line,) = look(world).releases
    assert (line.release, line.record, line.behind, line.vms_total) == (RELEASE, None, None, 2)
    assert not look(world).behind


def test_what_fails_is_told_on_the_most_vms_first_and_alike_things_together(world):
    down = [
        replace(FAILED, name=f"setting/{n}", outcome=Outcome.ERROR, message="no server")
        for n in range(5)
    ]
    fails(world, "dev1", FAILED)
    fails(world, "dev2", FAILED, *down)
    first, second = look(world).checks
    assert (first.check, first.vms, first.message) == ("unit/x", ("dev1", "dev2"), "it is off")
    assert (second.check, second.checks_total, second.vms) == (
        "setting/0 ... setting/4",
        5,
        ("dev2",),
    )


def test_what_a_vm_takes_is_its_layers_and_not_the_boxs_image(world):
    one = look(world).vms[0]
    assert one.used_bytes == 2000  # a root and a data disk of 1000 bytes each
    snapshots.create(world.services, "dev1", "before", world.run("snapshot"))
    assert look(world).vms[0].used_bytes == 4000


def test_what_clones_share_counts_for_each(world):
    clone.clone(world.services, "dev1", "dev9", world.run("clone dev1"))
    used = {one.vm.name: one.used_bytes for one in look(world).vms}
    assert used == {"dev1": 4000, "dev2": 2000, "dev9": 4000}
    assert look(world).hosts[0].pool_vms_bytes == 8000, "on the host it is there once"


def test_the_host(world):
    world.create("dev3")
    world.host.memory, world.host.free = (65536, 40000), 300 * GIB
    world.services.domains.shutdown(world.vm("dev3"), timeout=1, force=True)
    trash.destroy(world.services, "dev2", world.run("destroy"))
    (host,) = look(world).hosts
    assert (host.vms, host.running) == (2, 1)
    assert (host.memory_mib, host.memory_free_mib) == (65536, 40000)
    assert (host.memory_running_mib, host.memory_vms_mib) == (2048, 4096)
    assert (host.pool_vms_bytes, host.pool_kept_bytes) == (4000, 2000)
    assert (host.pool_boxes_bytes, host.pool_free_bytes) == (1000, 300 * GIB)
    assert host.uri == "qemu:///system"


def test_what_is_left_of_a_vm_is_in_it(world):
    world.state.vm("old").mkdir()
    old = look(world).vms[-1]
    assert (old.vm.state, old.release, old.used_bytes) == (VmState.MISSING, None, None)
    assert old.standing == Standing()


def test_a_host_without_vms(tmp_path):
    fleet = look(World(tmp_path))
    assert (fleet.vms, fleet.releases, fleet.checks, fleet.rollouts) == ((), (), (), ())
    assert fleet.hosts[0].vms == 0


def test_libvirt_that_does_not_answer_is_said(world):
    def gone():
        raise HostNotReadyError("libvirt does not answer")

    world.services.domains.vms = gone
    with pytest.raises(HostNotReadyError):
        look(world)
