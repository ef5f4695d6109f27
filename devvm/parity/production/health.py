"""Signs in a manifest that production is unhealthy or insecure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from devvm.parity.production.manifest import Facts

#: A mode, as in manifests.
MODE = re.compile(r"[0-7]{4}")
_STICKY, _OTHERS_WRITE = 0o1000, 0o0002
#: Servers that need no password, or that nobody but the machine itself should use.
_PRIVATE = frozenset({"mariadbd", "mysqld", "redis-server", "memcached"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 (looked for)
_OLD_TLS = frozenset({"SSLv3", "TLSv1", "TLSv1.1"})
#: Settings that a production server should not have.
_SUSPICIOUS = {
    "mariadb/skip_grant_tables": ("ON", "everybody can do everything"),
    "mariadb/local_infile": ("ON", "a server can make a client send its files"),
}


def complaints(area: str, item: str, facts: Facts) -> Iterator[tuple[str, str]]:
    """What is suspicious about an item: stable keys, and messages."""
    state = facts.get("state")
    if area == "unit" and isinstance(state, str) and state.startswith("failed"):
        yield "failed", "it has failed on every host"
    if area == "unit" and facts.get("reload"):
        yield "reload", "its file changed after systemd read it: daemon-reload is needed"
    if area == "package" and facts.get("status") not in (None, "config-files"):
        yield "package", f"it is not fully installed: {facts['status']}"
    if area == "socket":
        servers = sorted(_PRIVATE & _words(facts, "process"))
        if servers and _EVERYWHERE & _words(facts, "bind"):
            yield "exposed", f"{', '.join(servers)} listens on every address"
    mode = facts.get("mode")
    if area == "file" and isinstance(mode, str) and MODE.fullmatch(mode):
        bits = int(mode, 8)
        if bits & _OTHERS_WRITE and not (bits & _STICKY and item.endswith("/")):
            yield "writable", f"everybody can write to it: mode {mode}"
    if area == "user" and facts.get("password") == "none":
        yield "password", "the account needs no password"
    if area == "tls" and _OLD_TLS & _words(facts, "protocols"):
        yield "tls", f"it offers {', '.join(sorted(_OLD_TLS & _words(facts, 'protocols')))}"
    value, why = _SUSPICIOUS.get(item, ("", "")) if area == "setting" else ("", "")
    if why and facts.get("value") == value:
        yield "setting", f"it is {value}: {why}"


def _words(facts: Facts, name: str) -> set[str]:
    value = facts.get(name)
    return set(value) if isinstance(value, list) else set()
