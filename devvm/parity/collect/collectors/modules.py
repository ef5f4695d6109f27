"""The kernel's modules that are loaded now, but neither for a device nor for another module."""

from __future__ import annotations

import fnmatch
import glob
import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterable

    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("loaded-module",)

#: What devices and processors say they are; udev loads the modules that have such an alias.
_DEVICES = (
    "/sys/bus/*/devices/*/modalias",
    "/sys/class/dmi/id/modalias",
    "/sys/class/input/*/modalias",
    "/sys/devices/system/cpu/modalias",
)
#: What the kernel asks for when somebody uses a file system or a cipher, or lists open sockets.
_ON_DEMAND = ("crypto-*", "fs-*", "net-pf-16-proto-4-*", "net-pf-16-proto-12")
#: And a character set, of which not every one has an alias.
_CHARACTERS = "nls_*"


def collect(wanted: Wanted, run: Run) -> Found:
    """By module: `taint`, as the kernel writes it, if the module isn't the kernel's own (`OE`).

    Modules that hardware needs are left out, so that machines with different devices and processors
    can be compared; so are those that the kernel loads by itself. A container has its host's.
    """
    if common.is_container(run):
        return {"loaded-module": {}}
    lines = (common.read("/proc/modules") or b"").decode().splitlines()
    folder = f"/lib/modules/{os.uname().release}"
    aliases = (common.read(f"{folder}/modules.alias") or b"").decode("utf-8", "replace")
    return {"loaded-module": loaded(lines, aliases, "/sys/module", _devices())}


def loaded(lines: Iterable[str], aliases: str, drivers: str, devices: Iterable[str]) -> Items:
    """Modules, and their facts.

    Args:
        lines: Of /proc/modules.
        aliases: The text of modules.alias.
        drivers: The folder in which each module's drivers are.
        devices: The `modalias` of each device.
    """
    kinds: dict[str, list[str]] = {}
    for device in devices:
        kinds.setdefault(_kind(device), []).append(device)
    found: Items = {}
    for line in lines:
        words = line.split()  # proc(5): name, size, references, users, state, address, taint
        name, users, taint = words[0], words[3], "".join(words[6:]).strip("()")
        if taint:
            found[name] = {"taint": taint}
        elif users == "-" and not fnmatch.fnmatchcase(name, _CHARACTERS):
            wanted = _serves(f"{drivers}/{name}/drivers") or any(
                _is_asked_for(alias, kinds) for alias in _aliases(name, aliases)
            )
            if not wanted:
                found[name] = {}
    return found


def _devices() -> set[str]:
    """What each device says it is."""
    paths = (path for pattern in _DEVICES for path in glob.glob(pattern))
    return {(common.read(path) or b"").decode("utf-8", "replace").strip() for path in paths}


def _serves(drivers: str) -> bool:
    """Whether a device uses one of these drivers: each is linked there."""
    links = (path for path in glob.glob(f"{drivers}/*/*") if not path.endswith("/module"))
    return any(map(os.path.islink, links))


def _aliases(name: str, text: str) -> Iterable[str]:
    """A module's aliases; searched for as text, because only few modules are asked for."""
    end = f" {name}\n"
    at = text.find(end)
    while at >= 0:
        yield text[text.rfind("\n", 0, at) + 1 : at].removeprefix("alias ")
        at = text.find(end, at + 1)


def _kind(alias: str) -> str:
    """The bus that an alias belongs to: `acpi` of `acpi*:LNXPWRBN:*`."""
    return alias.partition(":")[0].partition("*")[0]


def _is_asked_for(alias: str, kinds: dict[str, list[str]]) -> bool:
    if any(fnmatch.fnmatchcase(alias, pattern) for pattern in _ON_DEMAND):
        return True
    there = kinds.get(_kind(alias), ())
    return any(fnmatch.fnmatchcase(device, alias) for device in there)
