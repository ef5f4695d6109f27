"""Configuration files: where they are from, who may read them, what is in them."""

from __future__ import annotations

import glob
import os
import re
import stat

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from devvm.parity.collect.interface import Found, Items, Packaged, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("file",)

ROOTS = (
    "/etc",
    "/usr/local",
    "/root/.ssh",
    "/run/modprobe.d",
    "/run/sysctl.d",
    "/run/systemd/*.conf.d",
    "/run/systemd/network",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/run/udev/rules.d",
)
#: Programs here count only if they run with other rights than their caller's, or if somebody other
#: than root may change them.
PROGRAMS = ("/usr/bin", "/usr/sbin")
#: Not configuration: written by programs as they run, or covered by another collector (links that
#: enable units: `unit`).
SKIPPED = (
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/rc?.d*",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/systemd/system/*.wants*",
    "/etc/systemd/system/*.requires*",
    "/run/systemd/system/*.wants*",
    "/run/systemd/system/*.requires*",
    "*/__pycache__*",
    "*.dpkg-tmp",
)
#: Links that follow from what is listed elsewhere, by path and target: those that enable, alias or
#: mask a unit; those that update-ca-certificates makes.
_FOLLOWING = (
    ("/etc/systemd/system/*", "/usr/lib/systemd/system/*"),
    ("/etc/systemd/system/*", "/lib/systemd/system/*"),
    ("/etc/systemd/system/*", "/dev/null"),
    ("/run/systemd/system/*", "/dev/null"),
    ("/etc/ssl/certs/*.pem", "/usr/share/ca-certificates/*"),
    ("/etc/ssl/certs/*.pem", "/usr/local/share/ca-certificates/*"),
    ("/etc/ssl/certs/*.0", "[!/]*"),
)
#: Attributes that grant rights beyond the mode: access control lists, capabilities.
_RIGHTS = ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
#: Specific to a machine, or generated from what is listed elsewhere: only mode and owner count.
OWN = (
    "/etc/adjtime",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/ld.so.cache",
    "/etc/machine-id",
    "/etc/mailname",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/subgid",
    "/etc/subuid",
)
#: Lines here that contain the machine's name are left out.
OWN_LINES = ("/etc/hosts",)
#: Vagrant writes a block of its own here when it creates a machine, but not when it is rebuilt.
VAGRANTS_LINES = ("/etc/fstab",)
_VAGRANTS = re.compile(rb"^#VAGRANT-BEGIN$.*?^#VAGRANT-END$\n?", re.MULTILINE | re.DOTALL)
#: A file's text is kept up to this many bytes, to show what differs.
KEPT = 32 * 1024
#: Files of more bytes are not read: they aren't configuration, and their size has to do.
READ = 16 * 1024 * 1024
#: Entries to look at: folders with more are not folders of configuration.
LIMIT = 20_000


def collect(wanted: Wanted, run: Run) -> Found:
    """By path (a directory's ends in `/`): `mode`, `owner`, and what is in it.

    `attributes` if one keeps it from being changed (chattr(1)); `beyond-mode` if there are rights
    that the mode doesn't show. `package` if a package installed it and it is unchanged, else
    `sha256` of the text without its secrets; `content` if it is not too large; `secret`, a hash
    over the secrets in it; `link`, a link's target.
    """
    known = common.packaged(run)
    found: Items = {}
    for count, path in enumerate(_paths(wanted["paths"])):
        if count >= LIMIT:
            raise RuntimeError(f"more than {LIMIT} files in {', '.join(ROOTS)}")
        look(path, known, found)
    for folder in PROGRAMS:
        _programs(folder, found)
    for folder in common.VENDOR:
        _vendor(folder, known, found)
    return {"file": found}


def _paths(more: Iterable[str]) -> Iterator[str]:
    for root in (path for pattern in ROOTS for path in sorted(glob.glob(pattern))):
        yield root
        for folder, folders, files in os.walk(root):
            kept = (name for name in folders if not common.matches(f"{folder}/{name}", SKIPPED))
            folders[:] = sorted(kept)
            yield from (f"{folder}/{name}" for name in (*folders, *sorted(files)))
    yield from more


def look(path: str, known: Packaged, found: Items) -> None:
    """Add one path to `found`, unless it is skipped or gone."""
    if common.matches(path, SKIPPED):
        return
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        if not any(
            common.matches(path, (at,)) and common.matches(target, (to,)) for at, to in _FOLLOWING
        ):
            found[path] = {"link": target}
        return
    facts = _rights(path, status)
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
        attributes = common.attributes(path)
        if attributes:
            facts["attributes"] = attributes
    if stat.S_ISDIR(status.st_mode):
        found[f"{path}/"] = facts
    elif stat.S_ISREG(status.st_mode):
        found[path] = facts
        if status.st_size > READ:
            facts["size"] = status.st_size
        elif not common.matches(path, OWN):
            facts.update(_content(path, known))
    else:
        found[path] = {"special": True, **facts}


def _content(path: str, known: Packaged) -> Facts:
    content = common.read(path)
    if content is None:
        return {}
    package = common.origin_of(path, content, known)
    if common.matches(path, common.SECRET_PATHS) and not package:
        return {"secret": common.digest(content)}
    facts: Facts = {"package": package} if package else {}
    if path in OWN_LINES:
        content = _without_own_lines(content)
    if path in VAGRANTS_LINES:
        content = _VAGRANTS.sub(b"", content)
    try:
        text, secrets = common.redact(content.decode("utf-8"))
    except UnicodeDecodeError:
        return facts or {"sha256": common.digest(content)}
    if not package:
        facts["sha256"] = common.digest(text.encode())
        if secrets:
            facts["secret"] = common.digest("\0".join(secrets).encode())
    if len(content) <= KEPT:
        facts["content"] = text
    return facts


def _without_own_lines(content: bytes) -> bytes:
    name = os.uname().nodename.partition(".")[0].encode()
    own = re.compile(rb"(^|[\s.])" + re.escape(name) + rb"([\s.]|$)")
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if not own.search(line))


def _rights(path: str, status: os.stat_result) -> Facts:
    facts: Facts = {"mode": common.mode_of(status), "owner": common.owner_of(status)}
    try:
        beyond = [name for name in os.listxattr(path) if name in _RIGHTS]
    except OSError:  # the file system has none
        beyond = []
    if beyond:
        values = b"".join(os.getxattr(path, name) for name in sorted(beyond))
        facts["beyond-mode"] = f"{', '.join(sorted(beyond))}: {common.digest(values)[:16]}"
    return facts


def _programs(folder: str, found: Items) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                continue
            facts = _rights(entry.path, status)
            plain = (
                not status.st_mode & 0o7022 and status.st_uid == 0 and "beyond-mode" not in facts
            )
            if not plain:
                found[entry.path] = facts


def _vendor(folder: str, known: Packaged, found: Items) -> None:
    """Of a folder that belongs to packages, only files that are not as a package installed them.

    All links are listed: dpkg keeps no hash of them.
    """
    there = set()
    for path in (*glob.glob(f"{folder}/*"), *glob.glob(f"{folder}/*.[wr]*s/*")):
        try:
            status = os.lstat(path)
        except OSError:
            continue
        there.add(path)
        if stat.S_ISDIR(status.st_mode):
            continue
        if stat.S_ISREG(status.st_mode):
            facts = _rights(path, status)
            rights = {"mode": "0644", "owner": "root:root"}
            usual = facts == rights and not common.attributes(path)
            if usual and common.origin_of(path, common.read(path) or b"", known):
                continue
        look(path, known, found)
    for path in known:
        if os.path.dirname(path) == folder and path not in there:
            found[path] = {"package": known[path][1], "missing": True}
