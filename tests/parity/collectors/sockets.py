"""Listening sockets, with address and program, as the kernel has them."""

import ipaddress
import os

#: The kernel's numbers (include/net/tcp_states.h): a TCP socket that listens; a UDP socket that
#: is not connected, which takes what anybody sends.
_STATES = {"tcp": "0A", "udp": "07"}


def collect(wanted, run):
    """A list of `{"protocol": …, "port": …, "address": …, "process": …}`."""
    found = []
    for protocol, state in _STATES.items():
        for suffix in ("", "6"):
            found += _table(f"/proc/self/net/{protocol}{suffix}", protocol, state)
    owners = _owners({entry["inode"] for entry in found})
    for entry in found:
        entry["process"] = owners.get(entry.pop("inode"), "?")
    return found


def _table(path, protocol, state):
    try:
        with open(path) as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except FileNotFoundError:  # a kernel without IPv6
        return []
    found = []
    for row in rows:
        address, _, port = row[1].partition(":")
        if row[3] == state:
            found.append(
                {
                    "protocol": protocol,
                    "port": int(port, 16),
                    "address": _address(address),
                    "inode": row[9],
                }
            )
    return found


def _address(text):
    """Decode the kernel's notation: 32-bit words in the processor's byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _owners(inodes):
    """The program that holds each socket; the oldest process, where it is shared."""
    owners = {}
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        for inode in _sockets_of(pid) & inodes - owners.keys():
            try:
                owners[inode] = _program(pid)
            except OSError:  # the process has ended
                break
    return owners


def _sockets_of(pid):
    folder = f"/proc/{pid}/fd"
    found = set()
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


def _program(pid):
    """The name in `ps`; the file's where the kernel has cut that to 15 characters."""
    with open(f"/proc/{pid}/comm") as file:
        name = file.read().strip()
    return name if len(name) < 15 else os.path.basename(os.readlink(f"/proc/{pid}/exe"))
