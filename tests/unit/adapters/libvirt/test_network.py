"""The network's definition, leases, and conflicting routes on the host."""

from ipaddress import IPv4Network
from xml.etree import ElementTree as ET

import pytest

from devvm.adapters.libvirt import routes
from devvm.adapters.libvirt.network import Network, choose, differences, leases, network_xml
from devvm.config import NetworkConfig
from devvm.domain.errors import HostNotReadyError
from tests.support.libvirt_node import connect

ISOLATED = NetworkConfig(address="192.168.219.0/24", forward="none")
NAT = NetworkConfig(address="192.168.219.0/24", forward="nat")
TINY = NetworkConfig(address="10.9.8.0/28")


@pytest.fixture
def connection(tmp_path):
    return connect(tmp_path)


def test_an_isolated_network_has_no_forwarding_and_asks_no_other_dns_server():
    xml = network_xml(ISOLATED)
    assert "<forward" not in xml
    assert 'value="no-resolv"' in xml


def test_a_nat_network():
    root = ET.fromstring(network_xml(NAT))
    assert root.find("forward").attrib == {"mode": "nat"}
    assert root.find("bridge").get("name") == "devvm"
    assert root.find("domain").attrib == {"name": "devvm.test", "localOnly": "yes"}
    assert root.find("ip").attrib == {"address": "192.168.219.1", "prefix": "24"}
    assert root.find("ip/dhcp/range").attrib == {
        "start": "192.168.219.192",
        "end": "192.168.219.254",
    }


def test_a_place_follows_from_the_name():
    first = choose("dev1", NAT, {}, set())
    assert first == choose("dev1", NAT, {}, set())
    assert first.fqdn == "dev1.devvm.test"
    assert first != choose("dev2", NAT, {}, set())


def test_a_place_that_is_taken_or_busy_is_passed_over():
    first = choose("dev1", NAT, {}, set())
    second = choose("dev1", NAT, {"other": first}, set())
    assert second.address != first.address
    assert second.mac != first.mac
    assert choose("dev1", NAT, {}, {first.address}).address != first.address


def test_a_full_network_says_so():
    taken = {}
    for number in range(10):
        taken[f"vm{number}"] = choose(f"vm{number}", TINY, taken, set())
    with pytest.raises(HostNotReadyError, match="no address left") as caught:
        choose("late", TINY, taken, set())
    assert len({lease.address for lease in taken.values()}) == 10
    assert "network.address" in caught.value.resolution
    assert all(IPv4Network(TINY.address)[1] != lease.address for lease in taken.values())


def test_an_equal_network_has_no_differences():
    assert differences(NAT, network_xml(NAT)) == []
    assert differences(ISOLATED, network_xml(ISOLATED)) == []


def test_differences_name_the_settings():
    found = "\n".join(
        differences(NetworkConfig(address="10.0.0.0/24", domain="x.test"), network_xml(ISOLATED))
    )
    for setting in ("network.domain", "network.address", "network.forward"):
        assert setting in found


def test_ensure_makes_it_once_and_starts_it_again(connection):
    network = Network(connection, NAT)
    network.ensure()
    network.ensure()
    (made,) = connection.get().listAllNetworks()
    assert made.isActive()
    assert made.autostart()
    made.destroy()
    network.ensure()
    assert made.isActive()


def test_ensure_leaves_another_network_of_the_name_alone(connection):
    Network(connection, NAT).ensure()
    other = Network(connection, NetworkConfig(address="10.77.0.0/24"))
    with pytest.raises(HostNotReadyError, match="another libvirt network named devvm") as caught:
        other.ensure()
    assert "192.168.219.0/24" in caught.value.details
    (kept,) = connection.get().listAllNetworks()
    assert kept.isActive()


def test_a_network_that_can_not_be_started_does_not_stay(connection, monkeypatch):
    monkeypatch.setattr("devvm.adapters.libvirt.network._is_local", lambda _uri: True)
    monkeypatch.setattr(routes, "current", lambda: routes.parse(TABLE))
    with pytest.raises(HostNotReadyError, match="the host already uses") as caught:
        Network(connection, NetworkConfig(address="10.0.0.0/24")).ensure()
    assert "10.0.0.0/16 through eth1" in caught.value.details
    assert connection.get().listAllNetworks() == []


def test_a_lease_is_fixed_kept_and_given_back(connection):
    network = Network(connection, NAT)
    network.ensure()
    assert network.leases() == {}
    lease = network.reserve("dev1")
    assert network.reserve("dev1") == lease
    assert network.leases() == {"dev1": lease}
    (made,) = connection.get().listAllNetworks()
    assert leases(made.XMLDesc(), "devvm.test") == {"dev1": lease}
    network.release("dev1")
    network.release("dev1")
    assert network.leases() == {}


def test_a_lease_is_kept_by_a_network_that_is_down(connection):
    network = Network(connection, NAT)
    network.ensure()
    connection.get().listAllNetworks()[0].destroy()
    lease = network.reserve("dev1")
    network.ensure()
    assert network.leases() == {"dev1": lease}


def test_without_a_network_there_are_no_leases(connection):
    network = Network(connection, NAT)
    assert network.leases() == {}
    network.release("dev1")


TABLE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
devvm\t00DBA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t00D6A8C0\t00000000\t0201\t0\t0\t4000000000\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("wanted", "interface"),
    [
        ("192.0.2.128/25", "eth0"),
        ("192.0.0.0/16", "eth0"),
        ("172.16.0.0/12", None),  # reached only by the default route
        ("192.168.219.0/24", None),  # on its own bridge
        ("192.168.214.0/24", None),  # unreachable: leads nowhere
    ],
)
def test_routes_in_the_way(wanted, interface):
    found = routes.conflict(routes.parse(TABLE), IPv4Network(wanted), "devvm")
    assert (found.interface if found else None) == interface


def test_a_fence_is_read_with_its_metric():
    (fence,) = (r for r in routes.parse(TABLE) if r.unreachable)
    assert (str(fence.network), fence.metric) == ("192.168.214.0/24", 4000000000)


def test_a_fence_steps_aside_without_a_gap(monkeypatch):
    done = []
    monkeypatch.setattr(routes, "current", lambda: routes.parse(TABLE))
    monkeypatch.setattr(routes.process, "run", lambda argv, sudo: done.append(" ".join(argv[2:5])))
    with routes.fenced_range_passes(IPv4Network("192.168.214.0/24")):
        done.append("started")
    assert done == [
        "replace unreachable 192.168.214.0/25",
        "replace unreachable 192.168.214.128/25",
        "del unreachable 192.168.214.0/24",
        "started",
        "replace unreachable 192.168.214.0/24",
        "del unreachable 192.168.214.0/25",
        "del unreachable 192.168.214.128/25",
    ]
