"""Package changes in words: one line per family; minor changes are only counted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from devvm.domain.release.stack import PackageChange

#: What people call the families of packages.
_NAMES = {
    "glibc": "glibc",
    "linux": "Linux kernel",
    "mariadb": "MariaDB",
    "openssh": "OpenSSH",
    "openssl": "OpenSSL",
    "redis": "Redis",
}
#: Listed by name even if no role names them: people look for these after an advisory.
_WELL_KNOWN = frozenset(
    {"apt", "bash", "glibc", "gnutls", "linux", "openssh", "openssl", "pam", "sudo", "systemd"}
)
#: Families of packages whose names begin with something else.
_ALIASES = {"c": "glibc", "locales": "glibc", "ssl": "openssl", "udev": "systemd"}
_KERNEL = re.compile(r"linux-image-(?P<abi>\d[\w.]*-[\w.+]*?\d[\w.+]*?)(-[a-z][\w-]*)?")
_BINDING = re.compile(r"(python3?|php\d*(\.\d+)?|lib|ruby|golang)-(?=[a-z])")
_VERSION_IN_NAME = re.compile(r"[\d.]+(t64)?$")

_Versions = tuple[str | None, str | None]


def words(changes: Sequence[PackageChange], named: frozenset[str]) -> list[str]:
    """The changes, one line each.

    Args:
        changes: Sorted by name.
        named: The packages that roles name. Their changes are all listed, and come first.
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
    # Packages with the same two versions as a listed one come from the same source.
    count = sum(n for versions, n in others if None in versions or versions not in told)
    if count:
        noun = f"{'other ' if lines else ''}package{'s' if count > 1 else ''}"
        lines.append(f"and {count} {noun}" if lines else f"{count} {noun} changed")
    return lines


def _kernel(changes: Iterable[PackageChange]) -> str | None:
    """The line for a kernel replaced by another; its version is part of the package's name."""
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
    """The family of a package, by its name: `mariadb` for `mariadb-client` and `libmariadb3`."""
    stem = _BINDING.sub("", name).removeprefix("lib")
    stem = stem.partition("-")[0] or name
    stem = _VERSION_IN_NAME.sub("", stem) or stem
    return _ALIASES.get(stem, stem)


def _title(family: str, names: Sequence[str], named: frozenset[str]) -> str:
    """The title of a family's packages."""
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
    """A version without its epoch and Debian revision."""
    return _without_epoch(version).rpartition("-")[0] or _without_epoch(version)
