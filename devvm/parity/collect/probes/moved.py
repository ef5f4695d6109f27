"""What packages brought that are not as in production: as dpkg and the packages' scripts tell it.

No part of a capture: it says whose a difference is (devvm/parity/packages/attribution.py), and is
asked only about packages that the machine's release has otherwise than production.
"""

from __future__ import annotations

import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # as typing's, which costs a guest a tenth of a second
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from devvm.parity.collect.interface import Answers, Run, Wanted

_INFO = "/var/lib/dpkg/info"
#: What the collectors look at, of all that a package brings.
_PATHS = (
    "/(etc/|(usr/)?s?bin/|boot/vmlinuz-|usr/lib/python3/dist-packages/[^/]*\\.(dist|egg)-info$"
    f"|(usr/)?({'|'.join(folder[len('/usr/') :] for folder in common.VENDOR)})/)"
)
#: Where units are enabled, and where the packages' scripts write down that they did it.
_ENABLED = "/etc/systemd/system"
_RECORDS = "/var/lib/systemd/deb-systemd-helper-enabled"
#: Seconds between a link and its record: both are made by one program at once.
_TOGETHER = 2.0
_NOLOGIN = "/usr/sbin/nologin"
#: Below: numbers that are the same everywhere (collectors/accounts.py).
_FIXED = 100


def probe(wanted: Wanted, run: Run) -> Answers:
    """By package: `paths` that it brings, those that are `unchanged`, `obsolete` conffiles.

    `enabled`: units whose links its scripts made. `users`, `groups`: as its sysusers.d say.
    """
    moved = set(wanted.get("moved", ()))
    lists = [name for name in os.listdir(_INFO) if _package(name) in moved] if moved else []
    if not lists:
        return {}
    known = common.packaged(run)
    found: dict[str, dict[str, Any]] = {_package(name): {"paths": []} for name in lists}
    obsolete = _obsolete(found, run)
    argv = ["grep", "-E", "-H", "--", f"^{_PATHS}", *(f"{_INFO}/{name}" for name in lists)]
    for line in run(argv)[1].splitlines():
        file, _, path = line.partition(".list:")
        name = _package(f"{os.path.basename(file)}.list")
        if path not in obsolete.get(name, ()):  # which dpkg goes on listing
            found[name]["paths"].append(_merged(path))
    records = _records()
    for name, facts in found.items():
        facts["obsolete"] = [path for path, same in obsolete.get(name, {}).items() if same]
        facts["unchanged"] = [
            path
            for path in facts["paths"]
            if known.get(path, ("", ""))[1] == name
            and common.origin_of(path, common.read(path) or b"", known)
        ]
        facts["enabled"] = sorted(records & {os.path.basename(p) for p in facts["unchanged"]})
        facts["users"], facts["groups"] = _sysusers(facts["unchanged"])
    return found


def _package(name: str) -> str:
    """Whose list of files this is, of whatever architecture; "" if it is no such list."""
    return name[: -len(".list")].partition(":")[0] if name.endswith(".list") else ""


def _merged(path: str) -> str:
    """A path under /usr, which packages may name without it."""
    return f"/usr{path}" if path.startswith(("/lib/", "/bin/", "/sbin/")) else path


def _obsolete(names: Iterable[str], run: Run) -> dict[str, dict[str, bool]]:
    """Conffiles that packages bring no more, and whether each is as it once was brought."""
    found: dict[str, dict[str, bool]] = {}
    package = ""
    _, out, _ = run(["dpkg-query", "--show", "--showformat=${Package}\\n${Conffiles}\\n", *names])
    for line in out.splitlines():
        words = line.split()
        if not line.startswith(" "):
            package = line or package
        elif words[2:] == ["obsolete"]:
            path, md5, _ = words
            same = common.origin_of(path, common.read(path) or b"", {path: (md5, package)})
            found.setdefault(package, {})[path] = bool(same)
    return found


def _records() -> set[str]:
    """Units of which every link that enables them was made by deb-systemd-helper.

    It writes a record beside each link that it makes. A link that was taken away and made again by
    somebody else is younger than its record.
    """
    links: dict[str, list[str]] = {}
    for folder in _names(_ENABLED):
        if folder.endswith((".wants", ".requires")):
            for unit in _names(f"{_ENABLED}/{folder}"):
                links.setdefault(unit, []).append(f"{folder}/{unit}")
    return {unit for unit, paths in links.items() if all(map(_made_with_its_record, paths))}


def _made_with_its_record(link: str) -> bool:
    try:
        made = os.lstat(f"{_ENABLED}/{link}").st_mtime
        return abs(made - os.lstat(f"{_RECORDS}/{link}").st_mtime) <= _TOGETHER
    except OSError:
        return False


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _sysusers(paths: Iterable[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The users and groups that sysusers.d(5) asks for, with the facts that they get."""
    users: dict[str, dict[str, Any]] = {}
    groups: list[str] = []
    for path in paths:
        if path.startswith("/usr/lib/sysusers.d/"):
            for line in common.lines(path):
                kind, name, number, _, home, shell = [*_words(line), *["-"] * 6][:6]
                if kind in ("u", "u!"):
                    users[name] = _user(name, number, home, shell)
                    groups += [] if ":" in number else [name]
                elif kind == "g":
                    groups.append(name)
                elif kind == "m" and name in users:
                    users[name]["groups"] = sorted({*users[name]["groups"], number})
    return users, sorted(set(groups))


def _user(name: str, number: str, home: str, shell: str) -> dict[str, Any]:
    own, _, group = number.partition(":")
    return {
        "group": group or name,
        "groups": [],
        "home": "/" if home == "-" else home,
        "password": "locked",
        "shell": _NOLOGIN if shell == "-" else shell,
        "uid": int(own) if own.isdigit() and int(own) < _FIXED else None,
    }


def _words(line: str) -> list[str]:
    """The words of a line; quotes hold one together."""
    found, quoted = [], ""
    for part in line.split():
        quoted = f"{quoted} {part}" if quoted else part
        if quoted.count('"') % 2 == 0:
            found.append(quoted.strip('"'))
            quoted = ""
    return found
