"""The rules for VM names."""

from __future__ import annotations

import re

from devvm.domain.errors import UsageError

#: Names that every Debian system or devvm itself uses for something else; a stack reserves more. A
#: VM's name becomes a host name and the default login, so names of accounts that the guest already
#: has are excluded.
RESERVED_NAMES = frozenset(
    {
        "_apt", "_chrony", "adm", "all", "backup", "bin", "broadcasthost", "chrony", "daemon",
        "default", "devvm", "games", "gateway", "git", "gnats", "ip6-localhost", "irc", "list",
        "localhost", "lp", "mail", "man", "messagebus", "news", "nobody", "none", "proxy", "root",
        "sshd", "staff", "sudo", "sync", "sys", "systemd-network", "systemd-resolve",
        "systemd-timesync", "users", "uucp", "uuidd", "vagrant", "www-data",
    }
)  # fmt: skip


#: Prefixes of VMs that are nobody's: those that check a box, and those that become spares.
BOX_CHECK, SPARE = "boxcheck-", "spare-"
OWN_PREFIXES = (BOX_CHECK, SPARE)
_OWN = re.compile(rf"(?:{'|'.join(OWN_PREFIXES)})[0-9a-f]{{8}}")


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


def is_own(name: str) -> bool:
    """Whether devvm gives VMs such names that it makes for itself.

    A person's VM may have one too, from an older devvm; that is ready, and these never are.
    """
    return _OWN.fullmatch(name) is not None


def validate_new_name(name: str) -> str:
    """Return `name` if it is valid for a new VM.

    Raises:
        UsageError: as `validate_name`; also for names reserved for devvm's own VMs.
    """
    validate_name(name)
    reserved = next((prefix for prefix in OWN_PREFIXES if name.startswith(prefix)), None)
    if reserved is not None:
        raise UsageError(
            f"{name!r} can't be a VM name: {reserved!r} is reserved",
            details="devvm creates VMs with such names for itself, and deletes them for good",
            resolution="choose another, for example: dev1",
        )
    return name
