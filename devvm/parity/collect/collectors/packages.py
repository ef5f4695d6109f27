"""Debian packages: their version and origin, whether they are on hold, which files were changed."""

from __future__ import annotations

import hashlib
import os

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

    dpkg gives files the times that they have in the package. So only files that are newer than the
    machine's first installation of a package need to be hashed, and these are few.
    """
    lists = (f"{_INFO}/{name}" for name in os.listdir(_INFO) if name.endswith(".list"))
    oldest = min(lists, key=os.path.getmtime)
    _, out, _ = run(
        ["find", *_CODE, "-xdev", "-type", "f", "-newer", oldest, "-not", "-name", "*.pyc"]
    )
    newer = {path.lstrip("/") for path in out.splitlines()}
    newer |= {path.removeprefix("usr/") for path in newer}  # packages may list either
    found: dict[str, list[str]] = {}
    for name in os.listdir(_INFO):
        if name.endswith(".md5sums"):
            text = (common.read(f"{_INFO}/{name}") or b"").decode("utf-8", "replace")
            for md5, path in (line.split("  ", 1) for line in text.splitlines() if "  " in line):
                # Files in `VENDOR` are items of their own.
                told = os.path.dirname(common.canonical(f"/{path}")) in common.VENDOR
                if path in newer and not told and not _is(f"/{path}", md5):
                    package = name[: -len(".md5sums")].partition(":")[0]
                    found.setdefault(package, []).append(f"/{path}")
    return found


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
