"""Lines of a known_hosts file, as in sshd(8): which servers have which SSH host keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_LINE = re.compile(
    r"(?:@(?:cert-authority|revoked) )?(?P<hosts>[^\s|@#][^\s|]*)"
    r" (?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]{20,}={0,3}(?: [^\r\n]*)?"
)


def check(line: str) -> str:
    """Return a line if it says which key which servers have.

    Raises:
        ValueError: it doesn't, or it hides the servers' names in a hash.
    """
    if not _LINE.fullmatch(line) or not line.isprintable():
        raise ValueError(
            f"{line!r} is not a line of known_hosts, such as: git.acme.test ssh-ed25519 AAAAC3Nz..."
        )
    return line


def knows(lines: Iterable[str], name: str) -> bool:
    """Whether one of the lines is for a server."""
    return any(
        match is not None and _is_for(match["hosts"].split(","), name)
        for match in map(_LINE.fullmatch, lines)
    )


def _is_for(patterns: Iterable[str], name: str) -> bool:
    matching = [one for one in patterns if _matches(name, one.removeprefix("!"))]
    return bool(matching) and not any(one.startswith("!") for one in matching)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))  # brackets belong to a port
