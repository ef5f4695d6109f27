"""How far each VM is from the newest release, and from production; looks at small files only."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from devvm.domain.errors import OperationError
from devvm.domain.release.age import behind
from devvm.domain.release.stack import Release
from devvm.domain.vm import Vm
from devvm.operations.verify import last_result
from devvm.operations.verify.last_result import ParityRecord
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a VM stands.

    Attributes:
        behind: How many current releases are newer than its own; None: its own is not on record.
        parity: What came of the last check of it as it is now; None: there was none.
    """

    behind: int | None = None
    parity: ParityRecord | None = None


def of(services: Services, machines: Iterable[Vm]) -> dict[str, Standing]:
    """How these VMs stand, by name. A release that can't be read is nobody's: no error."""
    on_record: list[Release] = []
    with suppress(OperationError):  # `devvm release list` says it; here people look for their VMs
        on_record = services.releases.list()
    found = {}
    for machine in machines:
        if (metadata := machine.metadata) is None:
            found[machine.name] = Standing()
            continue
        found[machine.name] = Standing(
            behind=behind(metadata.release, on_record),
            parity=last_result.find(services.state, machine.name, metadata.release),
        )
    return found
