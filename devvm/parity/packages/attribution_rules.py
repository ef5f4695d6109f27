"""Rules, one per area, that prove that a difference comes with a moved package.

Each takes a difference and returns the name of the package, or None. Facts are untyped only up to
here: those without the expected form prove nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devvm.parity.differences.text import list_change
from devvm.parity.packages.brought import Brought
from devvm.parity.production.manifest import Facts

if TYPE_CHECKING:
    from devvm.parity.packages.attribution import Attribution

_UNITS = "/usr/lib/systemd/system"
_PACKAGED = "as packaged: "
_PYTHON = "/usr/lib/python3/dist-packages"
_PYTHON_INFO = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(-py3.*)?\.(dist|egg)-info")
#: The usual rights of packaged files and folders (Debian Policy, 10.9). dpkg doesn't record any.
_USUAL = ({"mode": "0644", "owner": "root:root"}, {"mode": "0755", "owner": "root:root"})
_CONTENT = frozenset({"package", "content", "sha256", "secret"})
_AUTHORITIES = "/etc/ca-certificates.conf"
_AUTHORITY = re.compile(r"[^#!\s].*\.crt")
_SHIPPED = "/usr/share/ca-certificates"
#: A line of nginx's effective configuration that stands for a file that is as packaged.
_INCLUDED = re.compile(r"# (?P<path>/\S+), as packaged: (?P<package>\S+)")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One difference.

    Attributes:
        area: The item's area.
        item: Its name.
        expected: The facts that are expected; None if it should not exist.
        found: The facts found; None if it doesn't exist.
        differing: The names of the facts that differ.
        context: Everything known about the machine.
    """

    area: str
    item: str
    expected: Facts | None
    found: Facts | None
    differing: frozenset[str]
    context: Attribution

    @property
    def brought(self) -> Brought:
        """What the moved packages have brought."""
        return self.context.brought


def file(case: Case) -> str | None:
    """A file or folder in /etc and similar places, or in the folders that belong to packages."""
    expected, found, brought = case.expected, case.found, case.brought
    path = case.item.rstrip("/")
    if found is None:
        return _gone(case, path)
    if expected is None:
        return _new(case.item, path, found, brought)
    if path == _AUTHORITIES and case.differing <= {"content", "sha256"}:
        return _authorities(expected, found, brought)
    was = _text(expected.get("package"))
    if was not in brought.packages or not case.differing <= _CONTENT:
        return None
    if brought.obsolete.get(path) == was and "package" not in found:
        return was
    now = brought.unchanged.get(path)  # another package's: the file moved there
    return now if now != was and now == found.get("package") else None


def _new(item: str, path: str, found: Facts, brought: Brought) -> str | None:
    if "link" in found:
        return _wanted_by_package(path, str(found["link"]), brought)
    if not path.startswith("/etc/"):  # elsewhere only files with unusual rights are items
        return None
    if item.endswith("/"):
        return brought.paths.get(path) if found in _USUAL else None
    rights = {name: value for name, value in found.items() if name not in _CONTENT}
    package = brought.unchanged.get(path)
    return package if rights in _USUAL and found.get("package") == package else None


def _gone(case: Case, path: str) -> str | None:
    assert case.expected is not None
    package = _text(case.expected.get("package"))
    if package:
        return package if case.brought.dropped(path, package) else None
    if case.item.endswith("/"):  # dpkg removes a folder with the last thing in it
        within = [
            name
            for name in case.context.expected.areas.get("file", {})
            if name.startswith(case.item) and name != case.item
        ]
        names = [case.context.package_of("file", name) for name in within]
        there = any(name.startswith(case.item) for name in case.context.found.get("file", {}))
        return names[0] if names and all(names) and not there else None
    if "link" in case.expected and path.startswith(f"{_UNITS}/"):
        target = posixpath.basename(str(case.expected["link"]))
        whose = case.context.package_of("unit", target)
        is_gone = target not in case.context.found.get("unit", {})
        return whose if is_gone and path not in case.brought.paths else None
    return None


def _wanted_by_package(path: str, target: str, brought: Brought) -> str | None:
    """A link that makes a package's own unit start: it leads to the unit file of the same name."""
    package = brought.paths.get(path)
    folder, name = posixpath.split(path)
    leads_to = posixpath.normpath(posixpath.join(folder, target))
    leads_to = f"/usr{leads_to}" if leads_to.startswith("/lib/") else leads_to
    its_own = brought.unchanged.get(f"{_UNITS}/{name}") == package
    starts = posixpath.dirname(folder) == _UNITS and folder.endswith((".wants", ".requires"))
    return package if starts and its_own and leads_to == f"{_UNITS}/{name}" else None


def _authorities(expected: Facts, found: Facts, brought: Brought) -> str | None:
    """The list of CAs that ca-certificates generates: one line per file."""
    texts = expected.get("content"), found.get("content")
    if not all(isinstance(text, str) for text in texts):
        return None
    more, less = list_change(*(str(text).splitlines() for text in texts))
    if not all(map(_AUTHORITY.fullmatch, (*more, *less))):
        return None
    came = all(f"{_SHIPPED}/{line}" in brought.unchanged for line in more)
    went = not any(f"{_SHIPPED}/{line}" in brought.paths for line in less)
    return "ca-certificates" if (more or less) and came and went else None


def unit(case: Case) -> str | None:
    """A systemd unit."""
    expected, found, brought = case.expected, case.found, case.brought
    path = f"{_UNITS}/{_template(case.item)}"
    if found is None:
        assert expected is not None
        package = _of_file(expected)
        return package if brought.dropped(path, package) else None
    package = brought.unchanged.get(path)
    if expected is None:
        if package is None or _of_file(found) != package or "reload" in found:
            return None
        if not _drop_ins_are_nobodys(case, found.get("drop-ins", {})):
            return None
        return package if _starts_by_package(case.item, found, package, brought) else None
    if not case.differing <= {"file", "drop-ins"}:
        return None
    owners = []
    if "file" in case.differing:
        moved = _of_file(expected) in brought.packages and _of_file(found) == package
        owners.append(package if moved else None)
    if "drop-ins" in case.differing:
        owners += _owners_of_drop_ins(
            expected.get("drop-ins", {}), found.get("drop-ins", {}), brought
        )
    return owners[0] if owners and all(owners) else None


def _starts_by_package(item: str, found: Facts, package: str, brought: Brought) -> bool:
    """Whether the package itself made a new unit start as found."""
    if str(found.get("state", "")).startswith("failed"):
        return False
    if found.get("enabled") == "enabled":
        return brought.enabled.get(item) == package
    starts = re.compile(rf"{_UNITS}/[^/]+\.(wants|requires)/{re.escape(item)}")
    return found.get("enabled") == "static" and any(
        name == package and starts.fullmatch(path) for path, name in brought.paths.items()
    )


def _template(item: str) -> str:
    name, at, rest = item.partition("@")
    return f"{name}@.{rest.rpartition('.')[2]}" if at else item


def _of_file(facts: Facts) -> str | None:
    file_of = str(facts.get("file", ""))
    return file_of.removeprefix(_PACKAGED) if file_of.startswith(_PACKAGED) else None


def _drop_ins_are_nobodys(case: Case, drop_ins: object) -> bool:
    """Whether a new unit's drop-ins are all from packages, or as in production."""
    return isinstance(drop_ins, Mapping) and all(
        str(identity).startswith(_PACKAGED) or case.context.is_as_expected("file", path)
        for path, identity in drop_ins.items()
    )


def _owners_of_drop_ins(before: object, now: object, brought: Brought) -> list[str | None]:
    """The package of each drop-in that differs; None if no moved package explains it."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return [None]
    owners: list[str | None] = []
    for path in sorted({*before, *now}):
        was = str(before.get(path, "")).removeprefix(_PACKAGED)
        if path in now and before.get(path) != now[path]:
            owners.append(brought.unchanged.get(path))
        elif path not in now:
            owners.append(was if brought.dropped(path, was) else None)
    return owners


def socket(case: Case) -> str | None:
    """A socket that only a package's new units listen on."""
    if case.expected is not None:
        return None
    listening = case.context.evidence.get("listening", {}).get(case.item, ())
    known = case.context.expected.areas.get("unit", {})
    names = [None if one in known else case.context.package_of("unit", one) for one in listening]
    return names[0] if names and all(names) else None


def user(case: Case) -> str | None:
    """An account that a package's sysusers.d file creates."""
    package, facts = case.brought.users.get(case.item, (None, {}))
    return package if case.expected is None and case.found == facts else None


def group(case: Case) -> str | None:
    """A group that a package's sysusers.d file creates."""
    new = case.expected is None and case.found == {"gid": None}
    return case.brought.groups.get(case.item) if new else None


def cron(case: Case) -> str | None:
    """Jobs in a file that is as packaged, or that its package no longer has."""
    if case.found is None:
        file_of = case.context.expected.areas.get("file", {}).get(case.item) or {}
        package = _text(file_of.get("package"))
        gone = case.item not in case.context.found.get("file", {})
        return package if gone and case.brought.dropped(case.item, package) else None
    if case.context.package_of("file", case.item) or case.expected is not None:
        return case.brought.unchanged.get(case.item)
    return None


def said_by_files(case: Case) -> str | None:
    """An item that is configured only by files that are as packaged."""
    said_by = case.context.evidence.get("said_by", {}).get(case.area, {}).get(case.item, ())
    return case.brought.owner_of(said_by) if case.expected is None else None


def sysctl(case: Case) -> str | None:
    """A setting that a package's file configures, or that only one of two kernels has."""
    found = case.found or {}
    if "configured" in found:
        said_by = case.context.evidence.get("said_by", {}).get(case.area, {}).get(case.item, ())
        in_force = found.get("value") == found["configured"]
        return case.brought.owner_of(said_by) if in_force else None
    if case.expected is not None and case.found is not None:
        return None
    return None if "configured" in (case.expected or {}) else _kernel(case)


def system(case: Case) -> str | None:
    """The running kernel's release."""
    only = case.item == "kernel" and case.differing == {"release"}
    return _kernel(case) if only else None


def _kernel(case: Case) -> str | None:
    """The package of the running kernel."""
    facts = case.context.found.get("system", {}).get("kernel") or {}
    return case.brought.paths.get(f"/boot/vmlinuz-{facts.get('release')}")


def python(case: Case) -> str | None:
    """A Python package, in the version that a Debian package brings."""
    name, _, folder = case.item.partition(" in ")
    if case.found is None or folder != _PYTHON:
        return None
    owners: dict[str, str] = {}
    for path, package in case.brought.paths.items():
        match = _PYTHON_INFO.fullmatch(posixpath.basename(path))
        its = match and match["name"].lower().replace("_", "-") == name
        if match and its and posixpath.dirname(path) == _PYTHON:
            owners[match["version"]] = package
    versions = ", ".join(sorted(owners))
    return owners[min(owners)] if owners and versions == case.found.get("version") else None


def setting(case: Case) -> str | None:
    """A setting of a server whose program comes from a moved package."""
    server, _, name = case.item.partition("/")
    own = case.context.evidence.get("servers", {}).get(server, {})
    owners = [case.brought.paths.get(path) for path in own.get("programs", ())]
    package = next(filter(None, owners), None)
    if package is None or " " in name or name == "acl":
        return None
    match server:
        case "mariadb":
            return package if _compiled(case, name, own) else None
        case "redis":
            return package if own.get("untouched") and "." not in name else None
        case "memcached":
            return package if case.expected is None or case.found is None else None
        case "nginx":
            return package if _nginx(case, name) else None
    return None


def _compiled(case: Case, name: str, own: Mapping[str, Any]) -> bool:
    """Whether a MariaDB variable has its value from the server itself.

    For a new one: it isn't set anywhere. For an existing one: it has its compiled-in value. For one
    that is gone: it didn't belong to a plugin.
    """
    if case.found is not None:
        which = "unset" if case.expected is None else "compiled"
        return name in own.get(which, ()) and "secret" not in case.found
    return not any(name.startswith(f"{plugin}_") for plugin in own.get("plugins", ()))


def _nginx(case: Case, name: str) -> bool:
    """Whether nginx was built with other modules, or reads other packaged files."""
    if case.expected is None or case.found is None:
        return False
    if name == "modules":
        return case.differing == {"built"}
    if name != "config" or not case.differing <= {"content", "sha256"}:
        return False
    tokens = case.context.tokens
    texts = case.expected.get("content"), tokens.value(case.found.get("content"))
    more, less = list_change(*(str(text).splitlines() for text in texts))
    included = [(line, _INCLUDED.fullmatch(line)) for line in (*more, *less)]
    return bool(included) and all(
        match is not None
        and (
            case.brought.unchanged.get(match["path"]) == match["package"]
            if line in more
            else case.brought.dropped(match["path"], match["package"])
        )
        for line, match in included
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
