"""One VM by its name, with what operations on it need again and again."""

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
    """A VM of this name, whether it is there yet, still, or not at all.

    In messages it reads as its name.

    Attributes:
        services: What an operation on it may use.
        name: Its name.
    """

    services: Services
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def fqdn(self) -> str:
        """Its full name, which its domain has too."""
        return naming.fqdn_of(self.services.config, self.name)

    @property
    def url(self) -> str:
        """Where its site is."""
        return naming.url_of(self.services.config, self.name)

    @property
    def folder(self) -> Path:
        """Where devvm keeps what it has of the VM on this host; it may not be there."""
        return self.services.state.vm(self.name)

    def vm(self) -> Vm | None:
        """The VM as libvirt has it now; None where it has none of this name."""
        return self.services.domains.vm(self.name)

    def require(self) -> Vm:
        """As `vm`, in an operation for which it has to be there.

        Raises:
            OperationError: it is not.
        """
        found = self.vm()
        if found is None:
            raise OperationError(
                f"{self} was deleted meanwhile",
                resolution=f"devvm doctor --fix; devvm recover {self}",
            )
        return found

    def journal(self) -> dict[str, Any] | None:
        """What an operation has begun with it and not ended; None where there is none."""
        return self.services.state.journal(self.name)

    def reserve_lease(self, mac: str | None = None) -> Lease:
        """Its place on the network, which is made where it is not there; `mac` may be asked for."""
        with self.services.state.wait_lock("network"):
            self.services.network.ensure()
            return self.services.network.reserve(self.name, mac)

    def release_lease(self) -> None:
        """Give its place on the network back; nothing where it has none."""
        with self.services.state.wait_lock("network"):
            self.services.network.release(self.name)
