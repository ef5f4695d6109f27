"""A libvirt host. No other package uses libvirt."""

from __future__ import annotations

from devvm.adapters.libvirt.connection import Connection
from devvm.adapters.libvirt.disks import Disks
from devvm.adapters.libvirt.domains import Domains
from devvm.adapters.libvirt.host import Host
from devvm.adapters.libvirt.memory import Memory
from devvm.adapters.libvirt.network import Network
from devvm.adapters.libvirt.volumes import Volumes
from devvm.config import Config

__all__ = ["Libvirt"]


class Libvirt:
    """Implements the ports in `devvm.ports.hypervisor`, over one connection.

    Args:
        config: Names the host, the pool and the network.
    """

    def __init__(self, config: Config) -> None:
        self.connection = Connection(config.uri)
        self.host = Host(self.connection)
        self.network = Network(self.connection, config.network)
        self.domains = Domains(self.connection, config, self.network)
        self.volumes = Volumes(self.connection, config, self.domains)
        self.disks = Disks(self.connection, self.domains, self.volumes)
        self.memory = Memory(self.connection, self.volumes)
