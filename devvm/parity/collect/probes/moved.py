"""What packages installed whose version is not production's, from dpkg and the packages' scripts.

Not part of a capture: it tells what caused a difference (devvm/parity/packages/attribution.py), and
is asked only about packages whose version in the machine's release differs from production's.
"""

from __future__ import annotations

import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from devvm.parity.collect.interface import Answers, Run, Wanted

_INFO = "/var/lib/dpkg/info"
#: The files of a package that collectors look at.
_PATHS = (
    "/(etc/|(usr/)?s?bin/|boot/vmlinuz-|usr/lib/python3/dist-packages/[^/]*\\.(dist|egg)-info$"
    f"|(usr/)?({'|'.join(folder[len('/usr/') :] for folder in common.VENDOR)})/)"
)
#: Where units are enabled, and where the packages' scripts record that they enabled them.
_ENABLED = "/etc/systemd/system"
_RECORDS = "/var/lib/systemd/deb-systemd-helper-enabled"
#: Seconds allowed between a link and its record: one program makes both at once. They may be copied
#: to another disk later, which takes longer.
_TOGETHER, _COPIED_TOGETHER = 2.0, 600.0
_NOLOGIN = "/usr/sbin/nologin"
#: IDs below this are the same everywhere (collectors/accounts.py).
_FIXED = 100


def probe(wanted: Wanted, run: Run) -> Answers:
    """By package: the `paths` it installs, those that are `unchanged`, its `obsolete` conffiles.

    `enabled`: units that its scripts enabled. `users`, `groups`: as its sysusers.d files say.
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
        if path not in obsolete.get(name, ()):  # dpkg still lists those
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
    """The package, without its architecture, of a list of files; "" for any other file."""
    return name[: -len(".list")].partition(":")[0] if name.endswith(".list") else ""


def _merged(path: str) -> str:
    """The path under /usr of a file that a package may list without it."""
    return f"/usr{path}" if path.startswith(("/lib/", "/bin/", "/sbin/")) else path


def _obsolete(names: Iterable[str], run: Run) -> dict[str, dict[str, bool]]:
    """Conffiles that packages no longer have, and whether each is as it was installed."""
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
    """Units for which deb-systemd-helper made every link that enables them.

    It makes a record together with each link. A link that somebody else has removed and made again
    is younger than its record, by its change time even if its time was set back.
    """
    links: dict[str, list[str]] = {}
    for folder in _names(_ENABLED):
        if folder.endswith((".wants", ".requires")):
            for unit in _names(f"{_ENABLED}/{folder}"):
                links.setdefault(unit, []).append(f"{folder}/{unit}")
    return {unit for unit, paths in links.items() if all(map(_made_with_its_record, paths))}


def _made_with_its_record(link: str) -> bool:
    try:
        made, noted = os.lstat(f"{_ENABLED}/{link}"), os.lstat(f"{_RECORDS}/{link}")
    except OSError:
        return False
    at_once = abs(made.st_mtime - noted.st_mtime) <= _TOGETHER
    return at_once and abs(made.st_ctime - noted.st_ctime) <= _COPIED_TOGETHER


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _sysusers(paths: Iterable[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The users and groups that these sysusers.d(5) files create, and the users' facts."""
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
    """The words of a line; a quoted string is one word."""
    found, quoted = [], ""
    for part in line.split():
        quoted = f"{quoted} {part}" if quoted else part
        if quoted.count('"') % 2 == 0:
            found.append(quoted.strip('"'))
            quoted = ""
    return found
