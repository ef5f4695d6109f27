"""The address of an application's repository, and names of branches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!:|//)\S+")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]+")
_BRANCH = re.compile(
    r"(?![-/.])(?!.*(//|\.\.|@\{|\.lock(/|$)|/\.))[^\s~^:?*\[\\\x00-\x1f\x7f]+(?<![/.])"
)


class Kind(StrEnum):
    """How a repository is reached."""

    SSH = "ssh"
    HTTPS = "https"
    PATH = "path"  # on this host


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The address of a repository.

    Attributes:
        text: As git takes it.
        kind: How it is reached.
        host: The server; empty for a path.
        port: The server's port; None for the usual one.
    """

    text: str
    kind: Kind
    host: str = ""
    port: int | None = None

    @property
    def known_as(self) -> str:
        """The server's name in a known_hosts file."""
        return f"[{self.host}]:{self.port}" if self.port not in (None, 22) else self.host


def parse(text: str) -> Origin:
    """Parse `git@host:path`, `ssh://`, `https://` and `file://` addresses, and absolute paths.

    What isn't encrypted and authenticated is refused: the code is run. So are git's other
    transports, some of which run commands.

    Raises:
        ValueError: it is none of these, or has a password in it.
    """
    if not text.isprintable() or " " in text or text.startswith("-"):
        raise ValueError(f"{text!r} is not the address of a repository")
    if text.startswith("/"):
        return Origin(text=text, kind=Kind.PATH)
    if "://" not in text:
        if match := _SCP.fullmatch(text):
            return Origin(text=text, kind=Kind.SSH, host=match["host"])
        raise ValueError(f"{text!r} is not the address of a repository: write git@HOST:PATH, "
                         "ssh://, https://, file:// or an absolute path")  # fmt: skip
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not a URL") from None
    if parts.password is not None:
        raise ValueError("the address must not have a password in it: it is in every release")
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return Origin(text=text, kind=Kind.PATH)
    if parts.scheme not in ("ssh", "https"):
        raise ValueError(f"{parts.scheme}:// is not supported: use ssh://, https:// or file://")
    if not _HOST.fullmatch(host) or not parts.path.strip("/"):
        raise ValueError(f"{text!r} lacks a server or a path")
    return Origin(text=text, kind=Kind(parts.scheme), host=host, port=port)


def check_branch(name: str) -> str:
    """Return the name of a branch.

    Raises:
        ValueError: git allows no such name.
    """
    if not _BRANCH.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a branch")
    return name
