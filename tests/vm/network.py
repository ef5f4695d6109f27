"""The network of the tests' VMs: as devvm makes it, except that no guest traffic leaves this host.

Guests have a route out, as they do by default, and use it for the tests' own mirror, which this
host serves at the network's gateway. Anything that goes further is rejected.
"""

import subprocess
import tempfile
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

from devvm.adapters.libvirt.network import differences, network_xml
from devvm.config import NetworkConfig
from tests.vm.baseline import NETWORK, virsh

_SETTINGS = tomllib.loads((Path(__file__).parent / "config.toml").read_text())["network"]
#: Routing rules, which come after the one for this host's own addresses. What comes from a VM goes
#: no further, and a packet for a VM that is gone doesn't take the default route. These can't be
#: routes: libvirt would take those for another network with this range.
_RULES = (
    ("iif", NETWORK, "prohibit"),
    ("to", _SETTINGS["address"], "lookup", "main", "suppress_prefixlength", "0"),
    ("to", _SETTINGS["address"], "prohibit"),
)
_FIRST = 218
#: An option of dnsmasq.
_ASKS_NOBODY = "no-resolv"
_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"


def ensure() -> None:
    """Set the network up, closed off. If it differs, it is replaced; no domain may use it then."""
    rules = _ip("rule", "list")
    for preference, rule in enumerate(_RULES, _FIRST):
        if f"{preference}:\t" not in rules:
            _ip("rule", "add", "preference", str(preference), *rule)
    if _ip("route", "list", "type", "unreachable", "exact", _SETTINGS["address"]):
        _ip("route", "delete", "unreachable", _SETTINGS["address"])  # from these tests until 2026
    config = NetworkConfig.model_validate(_SETTINGS)
    if _there("--all") and not _is_ours(config, virsh("net-dumpxml", NETWORK)):
        if _there():
            virsh("net-destroy", NETWORK)
        virsh("net-undefine", NETWORK)
    if not _there("--all"):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(_definition(config))
            file.flush()
            virsh("net-define", file.name)
    if not _there():
        virsh("net-start", NETWORK)


def _is_ours(config: NetworkConfig, definition: str) -> bool:
    """Whether it matches `_definition`. In devvm's own definition, dnsmasq asks this host's DNS."""
    return not differences(config, definition) and _ASKS_NOBODY in definition


def _definition(config: NetworkConfig) -> str:
    """devvm's definition, but its DNS server asks no other one."""
    root = ET.fromstring(network_xml(config))
    ET.register_namespace("dnsmasq", _DNSMASQ)
    options = ET.SubElement(root, f"{{{_DNSMASQ}}}options")
    ET.SubElement(options, f"{{{_DNSMASQ}}}option", value=_ASKS_NOBODY)
    return ET.tostring(root, encoding="unicode")


def _there(*options: str) -> bool:
    return NETWORK in virsh("net-list", "--name", *options).split()


def _ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout
