"""What is measured: the names that people type and read, and which of them belong together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

#: Appended to the name of what was measured with another checkout's devvm.
OTHER = "@other"

FLOOR = "floor"
CREATE_COLD, CREATE_WARM, CREATE_SPARE = "create-cold", "create-warm", "create-spare"
REBUILD_COLD, REBUILD_WARM = "rebuild-cold", "rebuild-warm"
VERIFY, STOP, START = "verify", "stop", "start"
VERSION, LIST = "version", "list"
BOX_BUILD, PLAIN = "box-build", "plain"
AT_ONCE = "at-once"

#: Phases of the floor.
SSH, SITE = "ssh", "site"
#: The phases in which a VM starts.
BOOT, RESTORE, TAKE = "boot", "restore", "take"


class Group(StrEnum):
    """Contenders whose times can be shown on one scale."""

    VM = "One VM"
    AT_ONCE = "Several VMs at once"
    LONG = "From scratch"
    QUICK = "Commands that only look"


@dataclass(frozen=True)
class Contender:
    """One thing that is measured.

    Attributes:
        name: What people type after `--only`, and the key in the results.
        title: What the report calls it.
        group: Where it is shown.
    """

    name: str
    title: str
    group: Group


_KNOWN = (
    Contender(FLOOR, "floor: bare QEMU, the same disks", Group.VM),
    Contender(CREATE_COLD, "create, booted", Group.VM),
    Contender(CREATE_WARM, "create, restored", Group.VM),
    Contender(CREATE_SPARE, "create, a spare taken", Group.VM),
    Contender(REBUILD_COLD, "rebuild, booted", Group.VM),
    Contender(REBUILD_WARM, "rebuild, restored", Group.VM),
    Contender(VERIFY, "verify", Group.VM),
    Contender(STOP, "stop", Group.VM),
    Contender(START, "start", Group.VM),
    Contender(BOX_BUILD, "box build", Group.LONG),
    Contender(PLAIN, "plain: vagrant up with Ansible", Group.LONG),
    Contender(VERSION, "version", Group.QUICK),
    Contender(LIST, "list", Group.QUICK),
)

#: What `--only` takes, in the order of a round. A rebuild is filed by how the VM was started.
MEASURED = (
    VERSION, LIST, CREATE_COLD, VERIFY, STOP, FLOOR, START, "rebuild", CREATE_WARM, CREATE_SPARE,
    AT_ONCE, BOX_BUILD, PLAIN,
)  # fmt: skip


def contender(key: str) -> Contender:
    """The contender of a key in the results; one that this version doesn't know gets a plain title.

    The order in which results are shown is that of `position`.
    """
    name, other, _ = key.partition(OTHER)
    suffix = " (other checkout)" if other else ""
    if name.startswith(f"{AT_ONCE}-"):
        count = name.removeprefix(f"{AT_ONCE}-")
        title = f"create, {count} at once" if count != "1" else "create, alone"
        return Contender(key, title + suffix, Group.AT_ONCE)
    for known in _KNOWN:
        if known.name == name:
            return Contender(key, known.title + suffix, known.group)
    return Contender(key, name + suffix, Group.VM)


def position(key: str) -> tuple[int, str]:
    """Sorts the keys of results in the order of a report."""
    name = key.partition(OTHER)[0]
    order = [known.name for known in _KNOWN]
    return (order.index(name) if name in order else len(order), key)


def started_as(command: str, phases: Collection[str]) -> str:
    """The contender that a run of `create`, `rebuild`, `stop` or `start` belongs to.

    Args:
        command: Its verb.
        phases: Its phases. A VM that could not be restored was booted after all.
    """
    restored = RESTORE in phases and BOOT not in phases
    match command:
        case "create" if TAKE in phases and not {RESTORE, BOOT} & set(phases):
            return CREATE_SPARE
        case "create":
            return CREATE_WARM if restored else CREATE_COLD
        case "rebuild":
            return REBUILD_WARM if restored else REBUILD_COLD
        case _:
            return command
