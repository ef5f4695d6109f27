"""The rules for VM names."""

from __future__ import annotations

import re

from devvm.domain.errors import UsageError

#: Names that every Debian system or devvm itself uses for something else. A VM's name becomes a
#: host name and the default login, so names of accounts that the guest already has are excluded.
RESERVED_NAMES = frozenset(
    {
        "_apt", "_chrony", "about", "adm", "all", "backup", "bin", "broadcasthost", "chrony",
        "daemon", "default", "devvm", "games", "gateway", "git", "gnats", "ip6-localhost", "irc",
        "list", "localhost", "lp", "mail", "man", "mariadb", "memcache", "memcached",
        "messagebus", "mysql", "news", "nginx", "nobody", "none", "prometheus", "proxy", "redis",
        "root", "sshd", "staff", "sudo", "sync", "sys", "systemd-network", "systemd-resolve",
        "systemd-timesync", "users", "uucp", "uuidd", "vagrant", "www-data",
    }
)  # fmt: skip


#: Prefix of the VMs that a box's check creates, and that the next check removes.
BOX_CHECK = "boxcheck-"


_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def validate_name(name: str, *, what: str = "VM name") -> str:
    """Return `name` if it is valid as a host name and a login.

    A name becomes a host name (RFC 1123), a Debian login (`NAME_REGEX` of adduser), and part of
    file and libvirt names, so the rule is the strictest of theirs: 1 to 32 of `a-z 0-9 -`,
    beginning with a letter, not ending with `-`.

    Raises:
        UsageError: the name is invalid; says which rule it breaks.
    """
    rule = "use 1 to 32 of a-z, 0-9 and '-', start with a letter, do not end with '-'"
    if not name:
        raise UsageError(f"the {what} is empty", details=rule, resolution="devvm create dev1")
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower())[:32].strip("-0123456789")
        if not _NAME.fullmatch(suggestion) or suggestion in RESERVED_NAMES:
            suggestion = "dev1"
        shown = name if len(name) <= 70 else f"{name[:67]}... ({len(name)} characters)"
        raise UsageError(
            f"{shown!r} can't be a {what}",
            details=rule,
            resolution=f"choose another, for example: {suggestion}",
        )
    if name in RESERVED_NAMES:
        raise UsageError(
            f"{name!r} can't be a {what}: the name is reserved",
            details="the VM itself has an account or a host of that name",
            resolution="choose another, for example: dev1",
        )
    return name


def validate_new_name(name: str) -> str:
    """Return `name` if it is valid for a new VM.

    Raises:
        UsageError: as `validate_name`; also for names reserved for devvm's own VMs.
    """
    if validate_name(name).startswith(BOX_CHECK):
        raise UsageError(
            f"{name!r} can't be a VM name: {BOX_CHECK!r} is reserved",
            details="VMs with such names are created to check a box, then deleted for good",
            resolution="choose another, for example: dev1",
        )
    return name
