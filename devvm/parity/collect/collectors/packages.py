"""Debian packages: their version and origin, whether they are on hold, which files were changed."""

from __future__ import annotations

import hashlib
import os
import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterator

    from devvm.parity.collect.interface import Found, Items, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("package",)

_INFO = "/var/lib/dpkg/info"
#: Folders of programs and libraries; documentation doesn't count.
_CODE = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share/perl5")
_FORMAT = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\n"


def collect(wanted: Wanted, run: Run) -> Found:
    """By name: `version`, `origin` (the archive), `hold`, and `status` unless it is installed.

    `changed`: programs and libraries that are not as the package installed them.
    """
    code, out, err = run(["dpkg-query", "--show", f"--showformat={_FORMAT}"])
    if code:
        raise RuntimeError(err.strip())
    _, native, _ = run(["dpkg", "--print-architecture"])
    found: Items = {}
    for line in out.splitlines():
        name, architecture, version, want, status = line.split("\t")
        if architecture not in ("all", native.strip()):
            name = f"{name}:{architecture}"
        if status == "not-installed":
            continue
        facts: Facts = {"version": version, "origin": None}
        if want == "hold":
            facts["hold"] = True
        if status != "installed":
            facts["status"] = status
        found[name] = facts
    for name, origin in _origins(found, run):
        found[name]["origin"] = origin
    for name, paths in _changed(run).items():
        if name in found:
            found[name]["changed"] = sorted(paths)
    return {"package": found}


def _changed(run: Run) -> dict[str, list[str]]:
    """`{package: paths}` of files that were changed since their package was installed.

    A path is followed by the attributes that keep its file from being changed, if it has any.
    Hashing every file would take too long. So only those are hashed that may have been changed, by
    their times; these are few.
    """
    lists = {  # dpkg writes it when it installs a package
        name[: -len(".list")]: os.stat(f"{_INFO}/{name}")
        for name in os.listdir(_INFO)
        if name.endswith(".list")
    }
    oldest = min(lists, key=lambda name: lists[name].st_mtime)
    argv = ["find", *_CODE, "-xdev", "-type", "f", "-not", "-name", "*.pyc"]
    newer = ["-newer", f"{_INFO}/{oldest}.list", "-printf", "newer %C@ %p\\n"]
    _, out, _ = run([*argv, "(", *newer, "-o", "-printf", "older %C@ %p\\n", ")"])
    times = {path: (age, float(time)) for age, time, path in _TIMES.findall(out)}
    copied = _COPIED.search(out) is not None
    # Packages may list a file with or without usr/, which are the same folders.
    listed = {path[1:]: path for path in times}
    listed |= {path.removeprefix("/usr/"): path for path in times}
    found: dict[str, list[tuple[str, str]]] = {}
    good = set()
    for name in os.listdir(_INFO) if times else ():
        if name.endswith(".md5sums"):
            installed = lists.get(name[: -len(".md5sums")])
            text = (common.read(f"{_INFO}/{name}") or b"").decode("utf-8", "replace")
            for line in text.split("\n"):
                file = listed.get(line[_PATH])
                # Files in `VENDOR` are items of their own.
                if file and os.path.dirname(file) not in common.VENDOR:
                    age, time = times[file]
                    suspect = copied or age == "newer" or not _fits(time, installed)
                    package = name[: -len(".md5sums")].partition(":")[0]
                    if suspect and (state := _state(file, line[_MD5])):
                        found.setdefault(package, []).append((file, state))
                    else:
                        good.add(file)
    # Several packages list a file that one of them replaced or diverted.
    changed = {
        package: [state for file, state in states if file not in good]
        for package, states in found.items()
    }
    return {package: states for package, states in changed.items() if states}


#: A line of md5sums: the sum, two spaces, the path.
_MD5, _PATH = slice(32), slice(34, None)
#: What `find` prints: whether the file was written to after the first package was installed, its
#: change time, and its path. Nobody can set a change time, except with the clock, and then it has a
#: fraction of a second. mke2fs writes whole seconds. So on a disk that it made, a file whose change
#: time is a whole second was left alone since then, and any other may have been changed.
_TIMES = re.compile(r"^(newer|older(?! \d+\.0+ )) (\d+\.\d{,6})\d* (.*)$", re.MULTILINE)
_COPIED = re.compile(r"^older \d+\.0+ ", re.MULTILINE)
#: Seconds between the change times of a file and of its package's list. dpkg writes the list just
#: after the files, and may set their permissions then; a copy of a whole machine is not as quick.
_BEFORE, _AFTER = 600.0, 60.0


def _fits(time: float, installed: os.stat_result | None) -> bool:
    """Whether a file was changed for the last time when its package was installed."""
    return installed is not None and -_BEFORE <= time - installed.st_ctime <= _AFTER


def _state(path: str, md5: str) -> str:
    """The path and its attributes if the file is not as it was installed; else nothing."""
    attributes = common.attributes(path)
    if attributes:
        return ", ".join([path, *attributes])
    return "" if _is(path, md5) else path


def _is(path: str, md5: str) -> bool:
    content = common.read(path)
    return content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


def _origins(packages: Items, run: Run) -> Iterator[tuple[str, str]]:
    """Name and origin of each installed version; nothing if the machine keeps no package lists."""
    _, releases, _ = run(["apt-cache", "policy"])
    if " release " not in releases.replace("\n", " "):
        return
    labels = _labels(releases)
    if set(labels) <= {"/var/lib/dpkg/status"}:
        return
    _, out, _ = run(["apt-cache", "policy", *packages])
    name, installed = None, False
    for line in out.splitlines():
        if not line.startswith(" "):
            name, installed = line.rstrip(":"), False
        elif line.startswith(" *** "):
            installed = True
            if name in packages:
                packages[name]["origin"] = "local"  # unless an archive has this version
        elif line.startswith("     ") and not line.startswith("        "):
            installed = False
        elif installed:
            source = line.split(None, 1)[1]
            if source in labels and name in packages:
                yield name, labels[source]
                installed = False


def _labels(policy: str) -> dict[str, str]:
    """`{source as apt-cache prints it: origin and code name}`."""
    found, source = {}, None
    for line in policy.splitlines():
        text = line.strip()
        if text[:1].isdigit() or text.startswith("-"):
            source = text.split(None, 1)[1]
        elif text.startswith("release ") and source:
            parts = dict(part.partition("=")[::2] for part in text[8:].split(","))
            if "o" in parts:
                found[source] = f"{parts['o']} {parts.get('n', parts.get('a', ''))}".strip()
    return found
