"""Looks at a guest from outside: whether its SSH server and its site answer yet."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import libvirt

from devvm.adapters.libvirt.network import leases
from devvm.config import Config

#: Seconds until a server that took a connection says who it is. To try again sooner would only keep
#: an emulated one busy.
_PATIENCE = 5.0
#: Bytes of a small answer.
_ENOUGH = 65536


def ssh(address: str, port: int, timeout: float) -> bool:
    """Whether an SSH server says who it is."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            connection.settimeout(_PATIENCE)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def site(address: str, port: int, name: str, ca: Path, timeout: float) -> bool:
    """Whether the site says that it is healthy, under its name and a certificate of the CA."""
    request = f"GET /healthz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            socket.create_connection((address, port), timeout=timeout) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            secured.sendall(request.encode())
            answer = b""
            while len(answer) < _ENOUGH and (part := secured.recv(_ENOUGH)):
                answer += part
    except OSError:
        return False
    return healthy(answer)


def healthy(answer: bytes) -> bool:
    """Whether an HTTP answer is 200 with the JSON of a healthy site."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, last = body.find(b"{"), body.rfind(b"}")  # the body may be in chunks
    if b" 200" not in head.split(b"\r\n")[0] or first < 0:
        return False
    try:
        return bool(json.loads(body[first : last + 1])["status"] == "ok")
    except (ValueError, KeyError, TypeError):
        return False


class SshWatch:
    """Notes when the SSH server of a VM that is being created first answers.

    Args:
        config: Names the network.
        name: The VM.
    """

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self._name = name
        self._connection = libvirt.open(config.uri)
        self.seconds: float | None = None

    def look(self, seconds: float) -> None:
        """Try it, unless it has answered; `seconds` have passed since the create began."""
        if self.seconds is None:
            address = self._address()
            if address and ssh(address, 22, timeout=0.2):
                self.seconds = seconds

    def close(self) -> None:
        """Close the connection to libvirt."""
        self._connection.close()

    def _address(self) -> str | None:
        """The VM's address; None before its network is there."""
        try:
            network = self._connection.networkLookupByName(self._config.network.name)
            if not network.isActive():
                return None
            known = leases(network.XMLDesc(), self._config.network.domain)
        except libvirt.libvirtError:
            return None
        return known[self._name].address if self._name in known else None
