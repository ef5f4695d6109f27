"""The rules of the kernel's firewall as they are now, whoever made them.

nftables is asked through netlink, because the machine may not have its program; nor may a module be
loaded only because somebody looked.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterator

    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("firewall",)

#: linux/netfilter/nfnetlink.h and nf_tables.h: where to ask, and what to list.
_NETFILTER, _NFTABLES = 12, 10
_GET_CHAINS, _GET_RULES, _GET_SETS, _GET_ELEMENTS = 4, 7, 10, 13
_REQUEST_ALL = 0x301
_ERROR, _DONE = 2, 3
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_OTHER_HOOKS = {"arp": ("input", "output"), "netdev": ("ingress", "egress")}
#: What a kernel without nftables says.
_NONE = (errno.EINVAL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
#: Sets that the rules themselves or programs fill: their members come and go.
_PASSING = 0x10 | 0x20
#: Expressions that only count.
_COUNTERS = (b"counter", b"last", b"quota")
#: The parts of a set's member that say what it is: key, value, flags, end of a range.
_MEMBER = (1, 2, 3, 10)


def collect(wanted: Wanted, run: Run) -> Found:
    """By table, `nft/ip filter`: `chains` and `sets` by name. `iptables/filter`: its `rules`.

    What has no effect is left out: chains without rules, unless their policy is to drop.
    """
    found: Items = {}
    if _has_nftables():
        try:
            found |= _nftables()
        except OSError as error:
            # A container that may not ask has its host's firewall.
            hosts_own = error.errno == errno.EPERM and common.is_container(run)
            if not hosts_own and error.errno not in _NONE:
                raise
    for program, names in (("iptables", "ip_tables_names"), ("ip6tables", "ip6_tables_names")):
        for table in common.lines(f"/proc/net/{names}"):
            rules = _iptables(program, table, run)
            if rules != []:
                found[f"{program}/{table}"] = {"rules": rules}
    return {"firewall": found}


def _has_nftables() -> bool:
    """Whether the kernel has nftables now: asking would load its module."""
    loaded = common.read("/proc/modules")
    if loaded is None:  # a kernel without modules
        return True
    builtin = common.read(f"/lib/modules/{os.uname().release}/modules.builtin") or b""
    return b"\nnf_tables " in b"\n" + loaded or b"/nf_tables.ko" in builtin


def _nftables() -> Items:
    tables: dict[str, dict[str, dict[str, str]]] = {}
    rules: dict[tuple[str, str], list[bytes]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        for table, parts in _ask(kernel, _GET_RULES):
            rules.setdefault((table, _text(parts[2])), []).append(_rule(parts.get(4, b"")))
        for table, parts in _ask(kernel, _GET_CHAINS):
            name = _text(parts[3])
            words = _chain(table.split(" ")[0], parts, rules.get((table, name), []))
            if words:
                tables.setdefault(table, {}).setdefault("chains", {})[name] = words
        for table, parts in list(_ask(kernel, _GET_SETS)):
            if not _number(parts.get(3, b"")) & _PASSING:
                members = sorted(_members(kernel, table, parts))
                if members:
                    words = f"members: {len(members)}, {common.digest(b''.join(members))[:16]}"
                    tables.setdefault(table, {}).setdefault("sets", {})[_text(parts[2])] = words
    return {f"nft/{table}": dict(facts) for table, facts in tables.items()}


def _chain(family: str, parts: dict[int, bytes], rules: list[bytes]) -> str:
    """What a chain does, in words; empty if it does nothing."""
    words = []
    drops = False
    if 4 in parts:  # a base chain: packets come to it by themselves
        hook = dict(_attributes(parts[4]))
        priority = int.from_bytes(hook.get(2, b""), "big", signed=True)
        drops = _number(parts.get(5, b"\1")) == 0
        name = _OTHER_HOOKS.get(family, _HOOKS)[_number(hook.get(1, b""))]
        words = [f"{name} {priority}", f"policy {'drop' if drops else 'accept'}"]
    if rules:
        words += [f"rules: {len(rules)}", common.digest(b"".join(rules))[:16]]
    return ", ".join(words) if rules or drops else ""


def _rule(expressions: bytes) -> bytes:
    """The expressions of a rule, without what they counted."""
    parts = []
    for _, element in _attributes(expressions):
        expression = dict(_attributes(element))
        name = expression.get(1, b"").rstrip(b"\0")
        parts += [name, b"" if name in _COUNTERS else expression.get(2, b"")]
    return b"\0".join(parts)


def _members(kernel: socket.socket, table: str, parts: dict[int, bytes]) -> Iterator[bytes]:
    family = next(number for number, name in _FAMILIES.items() if table.startswith(f"{name} "))
    which = b"".join(_attribute(number, parts[number]) for number in (1, 2))
    for _, answer in _ask(kernel, _GET_ELEMENTS, family, which):
        for _, element in _attributes(answer.get(3, b"")):
            yield b"".join(v for n, v in sorted(_attributes(element)) if n in _MEMBER)


def _ask(
    kernel: socket.socket, what: int, family: int = 0, which: bytes = b""
) -> Iterator[tuple[str, dict[int, bytes]]]:
    """Family and table, and attributes, of everything of a kind.

    Raises:
        OSError: the kernel refuses.
    """
    size = 20 + len(which)
    head = struct.pack("=IHHIIBBH", size, _NFTABLES << 8 | what, _REQUEST_ALL, 0, 0, family, 0, 0)
    kernel.send(head + which)
    while True:
        answer = kernel.recv(1 << 17)
        while answer:
            length, kind = struct.unpack_from("=IH", answer)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer, 16)
                raise OSError(-code, os.strerror(-code))
            parts = dict(_attributes(answer[20:length]))
            name = _FAMILIES.get(answer[16], str(answer[16]))
            yield f"{name} {_text(parts.get(1, b''))}", parts
            answer = answer[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each netlink attribute."""
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield number & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _attribute(number: int, value: bytes) -> bytes:
    length = len(value) + 4
    return struct.pack("=HH", length, number) + value + bytes(-length % 4)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _iptables(program: str, table: str, run: Run) -> list[str] | None:
    """A table's rules, with policies; none if it only accepts, null if they can't be read."""
    code, out, _ = run([f"{program}-legacy-save", "--table", table])
    if code:
        return None
    policies = [line.rpartition(" ")[0] for line in out.splitlines() if line.startswith(":")]
    rules = [line for line in out.splitlines() if line.startswith("-")]
    plain = all(line.endswith(" ACCEPT") for line in policies)
    return [] if plain and not rules else policies + rules
