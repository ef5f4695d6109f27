"""A VM by its name, with what most operations on it need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devvm.domain.errors import OperationError
from devvm.domain.vm import Lease, Vm
from devvm.operations.core import naming
from devvm.ports.services import Services


@dataclass(frozen=True)
class Machine:
    """A VM by its name, whether or not it exists.

    In messages it is shown as its name.

    Attributes:
        services: The adapters to use.
        name: Its name.
    """

    services: Services
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def fqdn(self) -> str:
        """Its full name, which is also its domain's."""
        return naming.fqdn_of(self.services.config, self.name)

    @property
    def url(self) -> str:
        """The URL of its site."""
        return naming.url_of(self.services.config, self.name)

    @property
    def folder(self) -> Path:
        """The VM's folder on this host; it may not exist."""
        return self.services.state.vm(self.name)

    def vm(self) -> Vm | None:
        """The VM as libvirt has it now; None if it doesn't exist."""
        return self.services.domains.vm(self.name)

    def require(self) -> Vm:
        """Like `vm`, but the VM must exist.

        Raises:
            OperationError: it doesn't.
        """
        found = self.vm()
        if found is None:
            raise OperationError(
                f"{self} was deleted meanwhile",
                resolution=f"devvm doctor --fix; devvm recover {self}",
            )
        return found

    def journal(self) -> dict[str, Any] | None:
        """The journal of its unfinished operation; None if there is none."""
        return self.services.state.journal(self.name)

    def reserve_lease(self, mac: str | None = None) -> Lease:
        """Reserve its DHCP lease, with `mac` if given; it stays the same when reserved again."""
        with self.services.state.wait_lock("network"):
            self.services.network.ensure()
            return self.services.network.reserve(self.name, mac)

    def release_lease(self) -> None:
        """Release its DHCP lease, if it has one."""
        with self.services.state.wait_lock("network"):
            self.services.network.release(self.name)
