"""How many spares there should be, and why the last attempt to make one failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from devvm.domain.errors import OperationError
from devvm.domain.release.stack import same_stack
from devvm.ports.services import Services
from devvm.system.state import write_atomic

#: Instead of a release: that of the newest box of the configured stack, whichever it is by then.
NEWEST = "newest"
_FILE = "pool.json"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What was asked for.

    Attributes:
        spares: How many, by release or `NEWEST`; a size of 0 is left out.
        failure: Why the pool could not be filled when that was last tried; empty if it could.
        failed_at: When that was; ISO 8601, UTC.
        version: The version of the file format.
    """

    spares: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    failed_at: str = ""
    version: int = 1


_SIZES = TypeAdapter(Sizes)


def read(services: Services) -> Sizes:
    """What was asked for; nothing if nobody has asked.

    Raises:
        OperationError: it can't be read.
    """
    path = services.state.root / _FILE
    try:
        return _SIZES.validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Sizes()
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise OperationError(
            f"{path} can't be read",
            details=str(error).splitlines()[0],
            resolution=f"rm {path}; devvm pool set 3",
        ) from None


def set_size(services: Services, release: str, count: int) -> None:
    """Ask for a number of spares of a release, or of `NEWEST`."""

    def change(sizes: Sizes) -> Sizes:
        spares = {**sizes.spares, release: count}
        return Sizes(spares={name: number for name, number in spares.items() if number})

    _change(services, change)


def note(services: Services, failure: str, at: str) -> None:
    """Note why the pool could not be filled; with an empty `failure`, that it could."""
    _change(services, lambda sizes: replace(sizes, failure=failure, failed_at=at))


def wanted(services: Services) -> dict[str, int]:
    """How many spares there should be, by release; only of those that have a box here.

    None where `vm.warm` is off or VMs have extra disks: spares could not be used.
    """
    config = services.config.vm
    spares = read(services).spares
    if not spares or not config.warm or config.extra_disks:
        return {}
    boxes, stack = services.boxes.list(), services.stack.description().name
    found = {box.release: spares[box.release] for box in boxes if box.release in spares}
    newest = next((box.release for box in boxes if same_stack(box.stack, stack)), None)
    if NEWEST in spares and newest:
        found.setdefault(newest, spares[NEWEST])
    return found


def _change(services: Services, change: Callable[[Sizes], Sizes]) -> None:
    with services.state.wait_lock("pool"):
        before = read(services)
        after = change(before)
        if after != before:
            text = json.dumps(asdict(after), indent=2)
            write_atomic(services.state.root / _FILE, f"{text}\n")
