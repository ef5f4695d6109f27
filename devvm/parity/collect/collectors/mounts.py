"""Mounted file systems, and swap."""

from __future__ import annotations

import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterator

    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("mount", "api-mount", "swap")

#: Mounted by the kernel and systemd on every machine, as interfaces to them.
_API = re.compile(r"/(dev|proc|sys)(/.*)?|/run/lock")
#: Those that a container has for itself. The others are its host's, or as its manager wants them.
_CONTAINERS = ("/dev/shm", "/proc", "/run/lock")  # noqa: S108 (looked for)
#: Mounted for a session, a service or a container, or as soon as somebody looks there.
_PASSING = re.compile(r"/run/(user|credentials|host|systemd|docker)(/.*)?|/sys/kernel/debug/.*")
_ON_DEMAND = ("autofs", "binfmt_misc")  # types
_BEFORE = ("ro", "rw")
#: Options that depend on the machine: its size, its IDs, its kernel.
_SIZES = re.compile(
    r"(size|nr_inodes|nr_blocks|uid|gid|huge)=.*|seclabel|inode64|resv_strict|res[ug]id=.*"
)


def collect(wanted: Wanted, run: Run) -> Found:
    """By mount point: `type`, `options` (without sizes), and `root` for a bind mount.

    `api-mount` has those of the kernel and systemd (`/proc`, `/dev/shm`), `mount` all others.
    `swap`, by file or device: `type`, `priority`. A container has its host's.
    """
    container = common.is_container(run)
    found: dict[str, Items] = {area: {} for area in AREAS}
    found["swap"] |= {} if container else swaps((common.read("/proc/swaps") or b"").decode())
    for point, root, options, kind, _ in mounts():
        area = "api-mount" if _API.fullmatch(point) else "mount"
        api = area == "api-mount"
        hosts_own = point not in _CONTAINERS if api else point == "/"
        passing = _PASSING.fullmatch(point) or (api and kind in _ON_DEMAND)
        if passing or (container and hosts_own):
            continue
        kept = sorted(option for option in options if not _SIZES.fullmatch(option))
        found[area][point] = {"type": kind, "options": kept}
        if root != "/":
            found[area][point]["root"] = root
    return found


def swaps(text: str) -> Items:
    """What /proc/swaps lists."""
    found: Items = {}
    for line in text.splitlines()[1:]:
        path, kind, *_, priority = line.split()
        found[_unescape(path)] = {"type": kind, "priority": priority}
    return found


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
