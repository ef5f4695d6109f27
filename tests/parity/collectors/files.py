"""Configuration files: whose they are, who may read them, what is in them."""

import fnmatch
import os
import stat

import common

AREAS = ("file",)

ROOTS = (
    "/etc",
    "/usr/local",
    "/root/.ssh",
    "/run/sysctl.d",
    "/run/systemd/system",
    "/run/systemd/system.control",
)
#: Not a configuration: written by programs as they go, or told by another collector (links that
#: enable units: `unit`; trusted certificates: `certificate`).
SKIPPED = (
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/*-",
    "/etc/rc?.d*",
    "/etc/ssl/certs/*.0",
    "/etc/systemd/system/*.wants*",
    "/etc/systemd/system/*.requires*",
    "/run/systemd/system/*.wants*",
    "/run/systemd/system/*.requires*",
    "/usr/local/lib/python3*/__pycache__*",
    "*/__pycache__*",
    "*.dpkg-tmp",
)
#: A machine's own, or generated from what is told elsewhere: mode and owner count, not the content.
OWN = (
    "/etc/adjtime",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/hosts",
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
#: Bytes up to which a file's text is kept, to show what differs.
KEPT = 32 * 1024
#: Entries that are looked at: what has more is no folder of configuration.
LIMIT = 20_000


def collect(wanted, run):
    """By path (a directory's ends in `/`): `mode`, `owner`, and what is in it.

    `package` where a package brought it and it is unchanged, else `sha256` of the text without its
    secrets; `content` up to a size; `secret`: a hash over the secrets in it; `link`: the target.
    """
    known = common.packaged(run)
    found = {}
    for count, path in enumerate(_paths(wanted["paths"])):
        if count >= LIMIT:
            raise RuntimeError(f"more than {LIMIT} files in {', '.join(ROOTS)}")
        look(path, known, found)
    for folder in common.VENDOR:
        _vendor(folder, known, found)
    return {"file": found}


def _paths(more):
    for root in ROOTS:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(
                name for name in folders if not _matches(f"{folder}/{name}", SKIPPED)
            )
            yield from (f"{folder}/{name}" for name in (*folders, *sorted(files)))
    yield from more


def look(path, known, found):
    """Take one path into `found`."""
    if _matches(path, SKIPPED):
        return
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        unit_link = path.startswith(("/etc/systemd/system/", "/run/systemd/system/"))
        if not unit_link and not path.startswith("/etc/ssl/certs/"):
            found[path] = {"link": target}
        return
    facts = {"mode": common.mode_of(status), "owner": common.owner_of(status)}
    if stat.S_ISDIR(status.st_mode):
        found[f"{path}/"] = facts
    elif stat.S_ISREG(status.st_mode):
        found[path] = facts
        if not _matches(path, OWN):
            facts.update(_content(path, known))
    else:
        found[path] = {"special": True, **facts}


def _content(path, known):
    content = common.read(path)
    if content is None:
        return {}
    package = common.origin_of(path, content, known)
    if _matches(path, common.SECRET_PATHS) and not package:
        return {"secret": common.digest(content)}
    facts = {"package": package} if package else {}
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


def _vendor(folder, known, found):
    """Of the folders that belong to packages only what no package brought, or what was changed."""
    for path in common.files_in(folder):
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        content = common.read(path) or b""
        rights = (common.mode_of(status), common.owner_of(status))
        if common.origin_of(path, content, known) and rights == ("0644", "root:root"):
            continue
        look(path, known, found)


def _matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
