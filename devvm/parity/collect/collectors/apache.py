"""Apache: its modules, virtual hosts and settings of the whole server."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("apache",)

PROGRAM = "/usr/sbin/apache2ctl"
_MODULE = re.compile(r" (?P<name>\w+)_module \((?:static|shared)\)")
_SETTING = re.compile(r"(?P<name>[A-Z][\w ]+): (?P<value>.+)")
_HOSTS = "VirtualHost configuration:"
_END = "ServerRoot: "


def collect(wanted: Wanted, run: Run) -> Found:
    """`modules`, `virtual hosts`, and by setting: `value`."""
    if not os.path.exists(PROGRAM):
        return {"apache": {}}
    dumps = ("DUMP_VHOSTS", "DUMP_RUN_CFG", "DUMP_MODULES")
    code, out, err = run([PROGRAM, "-t", *(word for dump in dumps for word in ("-D", dump))])
    if code:
        reason = " ".join((err or out).split())
        return {"apache": {}, "errors": {"apache/": f"apache2ctl: {reason}"}}
    lines = out.splitlines()
    hosts: list[str] = []
    if _HOSTS in lines:
        start = lines.index(_HOSTS) + 1
        end = next((i for i, line in enumerate(lines) if line.startswith(_END)), len(lines))
        hosts = lines[start:end]
    modules = [match["name"] for match in map(_MODULE.fullmatch, lines) if match]
    found: Items = {
        "modules": {"modules": sorted(modules)},
        "virtual hosts": {"content": "".join(f"{line}\n" for line in hosts)},
    }
    for match in map(_SETTING.fullmatch, lines[len(hosts) :]):
        if match and "_module" not in match["name"]:
            found[match["name"]] = {"value": match["value"].strip('"')}
    return {"apache": found}
