"""Listening sockets, with address and program, as the kernel lists them."""

from __future__ import annotations

import ipaddress
import os

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Run, Wanted

AREAS = ("socket",)

#: The kernel's numbers (include/net/tcp_states.h): a TCP socket that listens; a UDP socket that is
#: not connected, and so receives from anybody.
_STATES = {"tcp": "0A", "udp": "07"}


def collect(wanted: Wanted, run: Run) -> Found:
    """By `PROTOCOL/PORT`: `bind`, the addresses, and `process`, the programs.

    An address that only this machine has is `own`. As evidence, `listening`: the programs' units.
    """
    entries: list[tuple[str, str, str]] = []
    for protocol, state in _STATES.items():
        for suffix in ("", "6"):
            entries += _table(f"/proc/self/net/{protocol}{suffix}", protocol, state)
    owners = _owners({inode for _, _, inode in entries})
    found: dict[str, dict[str, set[str]]] = {}
    units: dict[str, list[str]] = {}
    for key, address, inode in entries:
        facts = found.setdefault(key, {"bind": set(), "process": set()})
        program, unit = owners.get(inode, ("?", "?"))
        facts["bind"].add(_kind(address))
        facts["process"].add(program)
        units.setdefault(key, []).append(unit)
    return {
        "socket": {
            key: {name: sorted(values) for name, values in facts.items()}
            for key, facts in found.items()
        },
        "evidence": {"listening": units},
    }


def _table(path: str, protocol: str, state: str) -> list[tuple[str, str, str]]:
    try:
        with open(path) as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except FileNotFoundError:  # a kernel without IPv6
        return []
    found = []
    for row in rows:
        address, _, port = row[1].partition(":")
        if row[3] == state:
            found.append((f"{protocol}/{int(port, 16)}", _address(address), row[9]))
    return found


def _kind(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return address if parsed.is_loopback or parsed.is_unspecified else "own"


def _address(text: str) -> str:
    """Decode the kernel's notation: 32-bit words in the processor's byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _owners(inodes: set[str]) -> dict[str, tuple[str, str]]:
    """The program that has each socket open, and its unit; the lowest PID if several share it."""
    owners: dict[str, tuple[str, str]] = {}
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        for inode in _sockets_of(pid) & inodes - owners.keys():
            try:
                owners[inode] = _program(pid), _unit(pid)
            except OSError:  # the process has ended
                break
    return owners


def _sockets_of(pid: str) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found: set[str] = set()
    try:
        descriptors = os.listdir(folder)
    except OSError:  # the process has ended
        return found
    for descriptor in descriptors:
        try:
            link = os.readlink(f"{folder}/{descriptor}")
        except OSError:  # closed in the meantime
            continue
        if link.startswith("socket:["):
            found.add(link[8:-1])
    return found


def _program(pid: str) -> str:
    """The name that `ps` shows; the file's name if the kernel has cut it to 15 characters."""
    with open(f"/proc/{pid}/comm") as file:
        name = file.read().strip()
    return name if len(name) < 15 else os.path.basename(os.readlink(f"/proc/{pid}/exe"))


def _unit(pid: str) -> str:
    """The systemd unit that a process runs in."""
    with open(f"/proc/{pid}/cgroup") as file:
        return os.path.basename(file.read().strip().rpartition("::")[2])
