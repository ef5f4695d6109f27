"""The host's routes, and whether they conflict with a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from devvm.system import process

_TABLE = Path("/proc/net/route")
_REJECT = 0x200  # RTF_REJECT, an "unreachable" route


@dataclass(frozen=True, kw_only=True)
class Route:
    """An entry of the routing table."""

    interface: str
    network: IPv4Network
    metric: int
    unreachable: bool


def parse(text: str) -> list[Route]:
    """The routes in the text of /proc/net/route, without default routes."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        target, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        if mask:
            found.append(
                Route(
                    interface=fields[0],
                    network=IPv4Network((target, mask.bit_count())),
                    metric=int(fields[6]),
                    unreachable=bool(int(fields[3], 16) & _REJECT),
                )
            )
    return found


def current() -> list[Route]:
    """This machine's routes."""
    return parse(_TABLE.read_text(encoding="ascii")) if _TABLE.exists() else []


def conflict(routes: list[Route], wanted: IPv4Network, own_bridge: str) -> Route | None:
    """The route through which the host already reaches `wanted` or part of it; None if none does.

    "Unreachable" routes and the one of our own bridge don't count.
    """
    return next(
        (
            route
            for route in routes
            if not route.unreachable
            and route.interface != own_bridge
            and route.network.overlaps(wanted)
        ),
        None,
    )


@contextmanager
def fenced_range_passes(wanted: IPv4Network) -> Iterator[None]:
    """Let libvirt start a network even if an "unreachable" route fences exactly its range.

    Such a route, with a high metric, keeps packets for a VM that is gone off the default route.
    libvirt takes it for another network. So it is replaced with routes for the two halves of the
    range until the network has started; there is never a gap. This needs root.
    """
    fence = next((r for r in current() if r.unreachable and r.network == wanted), None)
    if fence is None:
        yield
        return
    halves = list(wanted.subnets())
    for half in halves:
        _change("replace", half, fence.metric)
    try:
        _change("del", wanted, fence.metric)
        try:
            yield
        finally:
            _change("replace", wanted, fence.metric)
    finally:
        for half in halves:
            _change("del", half, fence.metric)


def _change(verb: str, network: IPv4Network, metric: int) -> None:
    argv = ["ip", "route", verb, "unreachable", str(network), "metric", str(metric)]
    process.run(argv, sudo=True)
