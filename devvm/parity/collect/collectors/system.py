"""The system as a whole: release, kernel, locale, time zone; scheduled jobs."""

from __future__ import annotations

import os
import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("system", "cron")

_JOB = re.compile(r"\s*(@\w+|(\S+\s+){5})")


def collect(wanted: Wanted, run: Run) -> Found:
    """`system`: `os`, `kernel`, `locale`, `time`, `boot`. `cron`, by file: `jobs`."""
    container = common.is_container(run)
    release = _values("/etc/os-release")
    found: Items = {
        "os": {
            "name": release.get("ID"),
            "version": release.get("VERSION_ID"),
        },
        "locale": {
            **_values("/etc/default/locale"),
            "keyboard": _values("/etc/default/keyboard").get("XKBLAYOUT", "none"),
        },
        "time": {"zone": _zone(), "synchronised-by": None if container else _clock()},
        "boot": {"target": os.path.basename(os.path.realpath("/etc/systemd/system/default.target"))
                 if os.path.lexists("/etc/systemd/system/default.target")
                 else os.path.basename(os.path.realpath("/lib/systemd/system/default.target"))},
    }  # fmt: skip
    if not container:
        found["kernel"] = {"release": os.uname().release, "machine": os.uname().machine}
        found["boot"]["parameters"] = _parameters()
    return {"system": found, "cron": _cron()}


def _values(path: str) -> dict[str, str]:
    found = {}
    for line in common.lines(path):
        key, _, value = line.partition("=")
        found[key.strip()] = value.strip().strip("\"'")
    return found


def _zone() -> str:
    target = os.path.realpath("/etc/localtime")
    return target.partition("/zoneinfo/")[2] or target


def _clock() -> list[str]:
    """The running daemons that set the clock."""
    daemons = ("chronyd", "systemd-timesyncd", "ntpd", "ntpsec")
    running = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            continue
        if name in daemons:
            running.append(name)
    return sorted(set(running))


def _parameters() -> list[str]:
    """The kernel's command line, without the parameters that name this machine's disks."""
    words = (common.read("/proc/cmdline") or b"").decode().split()
    return [w for w in words if not w.startswith(("BOOT_IMAGE=", "initrd=", "root=", "resume="))]


def _cron() -> Items:
    found: Items = {}
    tables = ["/etc/crontab", *common.files_in("/etc/cron.d")]
    tables += common.files_in("/var/spool/cron/crontabs")
    for path in tables:
        jobs = [common.redact(line)[0] for line in common.lines(path) if _JOB.match(line)]
        if jobs:
            found[path] = {"jobs": jobs}
    for often in ("hourly", "daily", "weekly", "monthly"):
        for path in common.files_in(f"/etc/cron.{often}"):
            if os.access(path, os.X_OK) and "." not in os.path.basename(path):
                found[path] = {"jobs": [often]}
    return dict(sorted(found.items()))
