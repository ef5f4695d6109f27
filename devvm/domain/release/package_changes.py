"""Changes of packages in words: what belongs to one thing is told once, what is minor counted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from devvm.domain.release.stack import PackageChange

#: What people call what packages belong to.
_NAMES = {
    "glibc": "glibc",
    "linux": "Linux kernel",
    "mariadb": "MariaDB",
    "openssh": "OpenSSH",
    "openssl": "OpenSSL",
    "redis": "Redis",
}
#: Told by name though no role names them: people look for these after an advisory.
_WELL_KNOWN = frozenset(
    {"apt", "bash", "glibc", "gnutls", "linux", "openssh", "openssl", "pam", "sudo", "systemd"}
)
#: Where the beginning of a package's name does not say what it belongs to.
_ALIASES = {"c": "glibc", "locales": "glibc", "ssl": "openssl", "udev": "systemd"}
_KERNEL = re.compile(r"linux-image-(?P<abi>\d[\w.]*-[\w.+]*?\d[\w.+]*?)(-[a-z][\w-]*)?")
_BINDING = re.compile(r"(python3?|php\d*(\.\d+)?|lib|ruby|golang)-(?=[a-z])")
_VERSION_IN_NAME = re.compile(r"[\d.]+(t64)?$")

_Versions = tuple[str | None, str | None]


def words(changes: Sequence[PackageChange], named: frozenset[str]) -> list[str]:
    """The changes in lines.

    Args:
        changes: Sorted by name.
        named: The packages that roles name: these are told first, and all of them.
    """
    kernel = _kernel(changes)
    groups: dict[tuple[str, _Versions], list[str]] = defaultdict(list)
    for change in changes:
        name = change.name.partition(":")[0]
        if not (kernel and _family(name) == "linux"):
            groups[_family(name), (change.old, change.new)].append(name)
    by_roles: list[str] = []
    well_known: list[str] = []
    others: list[tuple[_Versions, int]] = []
    told: set[_Versions] = set()
    for (family, versions), names in groups.items():
        line = _line(_title(family, names, named), *versions)
        if named.intersection(names):
            by_roles.append(line)
        elif family in _WELL_KNOWN:
            well_known.append(line)
        else:
            others.append((versions, len(names)))
            continue
        told.add(versions)
    well_known += [kernel] if kernel else []
    lines = [*sorted(by_roles, key=str.lower), *sorted(well_known, key=str.lower)]
    # What is of the same two versions as something that is told comes from the same source.
    count = sum(n for versions, n in others if None in versions or versions not in told)
    if count:
        noun = f"{'other ' if lines else ''}package{'s' if count > 1 else ''}"
        lines.append(f"and {count} {noun}" if lines else f"{count} {noun} changed")
    return lines


def _kernel(changes: Iterable[PackageChange]) -> str | None:
    """The line of a kernel that another one follows; its version is in the package's name."""
    gone, come = (
        [
            match["abi"]
            for change in changes
            if (change.new if old else change.old) is None
            and (match := _KERNEL.fullmatch(change.name))
        ]
        for old in (True, False)
    )
    return f"{_NAMES['linux']} {gone[0]} → {come[0]}" if gone and come else None


def _family(name: str) -> str:
    """What a package belongs to, by its name: `mariadb` for `mariadb-client`, `libmariadb3`."""
    stem = _BINDING.sub("", name).removeprefix("lib")
    stem = stem.partition("-")[0] or name
    stem = _VERSION_IN_NAME.sub("", stem) or stem
    return _ALIASES.get(stem, stem)


def _title(family: str, names: Sequence[str], named: frozenset[str]) -> str:
    """What packages of one thing are called together."""
    if len(names) == 1:
        return names[0]
    if family in _NAMES:
        return _NAMES[family]
    return family if family in names else ", ".join(sorted(named.intersection(names)) or [family])


def _line(title: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"{title} {_upstream(new)} added" if new is not None else f"{title} removed"
    for shown in (_upstream, _without_epoch):
        if shown(old) != shown(new):
            return f"{title} {shown(old)} → {shown(new)}"
    return f"{title} {old} → {new}"


def _without_epoch(version: str) -> str:
    epoch, colon, rest = version.partition(":")
    return rest if colon and epoch.isdecimal() else version


def _upstream(version: str) -> str:
    """A version without what Debian adds to it."""
    return _without_epoch(version).rpartition("-")[0] or _without_epoch(version)
