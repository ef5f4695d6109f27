"""A VM by its name, whether it exists or not."""

import pytest

from devvm.domain.errors import OperationError
from tests.support.world import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_one_that_is_not_there_has_a_name_and_a_place(world):
    machine = world.machine()
    assert f"{machine} is gone" == "dev1 is gone"
    assert (machine.fqdn, machine.url) == ("dev1.devvm.test", "https://dev1.devvm.test/")
    assert machine.folder == world.state.vm("dev1")
    assert not machine.folder.exists()
    assert (machine.vm(), machine.journal()) == (None, None)


def test_it_is_as_libvirt_has_it_now(world):
    vm = world.create()
    machine = world.machine()
    assert (machine.vm(), machine.require()) == (vm, vm)
    world.services.domains.remove(vm.fqdn)
    assert machine.vm() is None
    with pytest.raises(OperationError, match="dev1 was deleted meanwhile") as caught:
        machine.require()
    assert caught.value.resolution == "devvm doctor --fix; devvm recover dev1"


def test_its_place_on_the_network_is_made_where_there_is_none(world):
    machine, world.host.network = world.machine(), False
    lease = machine.reserve_lease()
    assert lease.fqdn == machine.fqdn
    assert world.services.network.leases() == {"dev1": lease}
    assert machine.reserve_lease(lease.mac) == lease
    machine.release_lease()
    machine.release_lease()
    assert world.services.network.leases() == {}
