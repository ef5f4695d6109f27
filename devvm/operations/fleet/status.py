"""How far each VM is from the newest release and from production; reads only small files."""

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
    """How far a VM is from the newest release and from production.

    Attributes:
        behind: How many current releases are newer than its own; None if that isn't on record.
        parity: The last verification with its present release; None if there was none.
    """

    behind: int | None = None
    parity: ParityRecord | None = None


def of(services: Services, machines: Iterable[Vm]) -> dict[str, Standing]:
    """The standing of each VM, by name. If records can't be read, all count as missing."""
    on_record: list[Release] = []
    with suppress(OperationError):  # `devvm release list` reports it
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
