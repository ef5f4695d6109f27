"""Databases on a VM's data disk, whose files an older version of the server can't use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from devvm.domain.box import Box
from devvm.domain.errors import UsageError
from devvm.domain.vm import Vm
from devvm.operations.core import own_stack
from devvm.ports.services import Services

_SERIES = re.compile(r"(?:\d+:)?(\d+)(?:\.(\d+))?")


def versions(
    services: Services, release: str, packages: Mapping[str, str], before: Mapping[str, str]
) -> dict[str, str]:
    """The newest version of each database's package that has run on the data.

    Args:
        services: The adapters to use.
        release: The release that runs on it now.
        packages: The versions of the release's packages.
        before: The same before that release.
    """
    servers = own_stack.of(services, release).description().databases
    now = {s.package: packages[s.package] for s in servers if s.package in packages}
    return {**before, **now}


def refuse_older(services: Services, vm: Vm, box: Box) -> None:
    """Make sure that no database server of the box is older than the one that wrote the data.

    Raises:
        UsageError: one is.
    """
    present = services.boxes.find(vm.known.release)
    for server in own_stack.of(services, box.release).description().databases:
        in_box = present.packages.get(server.package, "") if present else ""
        has = _series(vm.known.databases.get(server.package) or in_box)
        gets = _series(box.packages.get(server.package, ""))
        if has and gets and gets < has:
            raise UsageError(
                f"the data of {vm.name} can't go back to the release {box.release}",
                details=f"{server.name} {_text(has)} wrote it, and that release has "
                f"{_text(gets)}, which can't read it",
                resolution="go back to the data as it was before, which is kept: devvm trash "
                f"show {vm.name}",
            )


def _series(version: str) -> tuple[int, ...] | None:
    """The part of a version that says which files it writes: `10.11`, `15`."""
    match = _SERIES.match(version)
    return tuple(int(part) for part in match.groups() if part) if match else None


def _text(series: tuple[int, ...]) -> str:
    return ".".join(map(str, series))
