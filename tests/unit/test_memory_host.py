"""The host in memory fails a test if devvm would damage data."""

from dataclasses import replace

import pytest

from devvm.domain.disk import ROOT
from tests.support.fleet_world import FleetWorld
from tests.support.memory_state import Layer
from tests.support.world import POOL


@pytest.fixture
def host(tmp_path):
    world = FleetWorld(tmp_path)
    world.fleet(2)
    return world.host


def test_two_vms_on_one_disk(host):
    one, other = host.domains.values()
    with pytest.raises(AssertionError, match="is written by one of"):
        host.boot(replace(other, disks=one.disks))


@pytest.mark.parametrize("busy", [False, True])
def test_a_vm_that_writes_under_a_layer_of_another(host, busy):
    """If several operations run at once, only layers that some domain needs count."""
    host.busy = busy
    one, other = host.domains.values()
    path = next(disk.path for disk in one.live if disk.role == ROOT)
    host.volumes["layer"] = Layer(below=path)
    if busy:
        host.refuse_damage()  # another operation is about to switch its VM to it
        disks = tuple(replace(disk, path=POOL / "layer") for disk in other.disks[:1])
        host.domains[other.name] = replace(other, disks=disks)
    with pytest.raises(AssertionError, match="writes under a layer"):
        host.refuse_damage()
