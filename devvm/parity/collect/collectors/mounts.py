"""Mounted file systems."""

from __future__ import annotations

import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterator

    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("mount",)

#: Mounted by the kernel and systemd on every machine, for a session, or by a container's host.
_FOREIGN = re.compile(
    r"/(dev|proc|sys)(/.*)?|/run/(user|credentials|host|lock|systemd|docker)(/.*)?"
)
_BEFORE = ("ro", "rw")
#: Options that depend on the machine: its size, its IDs, its kernel.
_SIZES = re.compile(
    r"(size|nr_inodes|nr_blocks|uid|gid|huge)=.*|seclabel|inode64|resv_strict|res[ug]id=.*"
)


def collect(wanted: Wanted, run: Run) -> Found:
    """By mount point: `type`, `options` (without sizes), and `root` for a bind mount."""
    container = common.is_container(run)
    found: Items = {}
    for point, root, options, kind, _ in mounts():
        if _FOREIGN.fullmatch(point) or (container and point == "/"):
            continue
        kept = sorted(option for option in options if not _SIZES.fullmatch(option))
        found[point] = {"type": kind, "options": kept}
        if root != "/":
            found[point]["root"] = root
    return {"mount": found}


def mounts() -> Iterator[tuple[str, str, set[str], str, str]]:
    """`(mount point, root, options, type, source)` of each mount, in the kernel's order.

    `root` is the directory within the file system that is mounted: a bind mount of /data/state/home
    on /home has the source of /data and the root /state/home.
    """
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, filesystem = line.partition(" - ")
            root, point, options = fields.split()[3:6]
            kind, source, more = filesystem.split()[:3]
            every = {*options.split(","), *(o for o in more.split(",") if o not in _BEFORE)}
            yield _unescape(point), _unescape(root), every, kind, source


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
