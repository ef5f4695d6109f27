"""A network of a test's own, which nothing leaves: with a server, a proxy and names."""

from __future__ import annotations

import base64
import ctypes
import functools
import http.server
import os
import re
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import tls

#: The host's only address there; of a range for documentation, which is nobody's.
ADDRESS = "192.0.2.1"
#: The name of the host that the name server knows.
NAME = "host.devvm.test"
_CLONE_NEWNET = 0x40000000


@dataclass
class Servers:
    """The servers of the network.

    Attributes:
        folder: What they serve.
        http: The port of the web server.
        https: The port of the one with TLS.
        proxy: The port of the proxy, which only knows HTTP without TLS.
        certificate: What clients of `https` must trust.
        loopback: A port on the host's loopback.
        proxied: URLs that the proxy was asked for, and the login it was given.
    """

    folder: Path
    http: int = 0
    https: int = 0
    proxy: int = 0
    loopback: int = 0
    certificate: Path = Path()
    proxied: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def entered(folder: Path) -> Iterator[Servers]:
    """Move this thread, and the processes that it starts, to a network with servers.

    Args:
        folder: What the servers serve.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _demand(libc.unshare(_CLONE_NEWNET))
    try:
        with ExitStack() as ends:
            _ip("link set lo up")
            _ip(f"address add {ADDRESS}/32 dev lo")
            yield _served(folder, ends)
    finally:
        _demand(libc.setns(before, _CLONE_NEWNET))
        os.close(before)


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def _demand(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _served(folder: Path, ends: ExitStack) -> Servers:
    servers = Servers(folder)
    web = functools.partial(_Files, directory=str(folder))
    servers.http = _run(http.server.ThreadingHTTPServer((ADDRESS, 0), web), ends)
    servers.loopback = _run(http.server.ThreadingHTTPServer(("127.0.0.1", 0), web), ends)
    made = tls.self_signed(folder.parent, address=ADDRESS)
    servers.certificate = made.certificate
    secure = http.server.ThreadingHTTPServer((ADDRESS, 0), web)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    servers.https = _run(secure, ends)
    proxy = functools.partial(_Proxy, servers)
    servers.proxy = _run(http.server.ThreadingHTTPServer((ADDRESS, 0), proxy), ends)
    _run(socketserver.ThreadingUDPServer((_name_server(), 53), _Names), ends)
    return servers


def _name_server() -> str:
    """The address where this machine expects its name server, which is taken here."""
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        if match := re.fullmatch(r"nameserver\s+(\d+(?:\.\d+){3})\s*", line):
            if not match[1].startswith("127."):
                _ip(f"address add {match[1]}/32 dev lo")
            return match[1]
    return "127.0.0.1"


def _run(server: socketserver.BaseServer, ends: ExitStack) -> int:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    ends.callback(server.server_close)
    ends.callback(server.shutdown)
    return int(server.server_address[1])


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Answers by itself what it is asked for, and remembers who asked."""

    def __init__(self, servers: Servers, *args: object) -> None:
        self._servers = servers
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # a name from http.server
        login = self.headers.get("Proxy-Authorization", "").removeprefix("Basic ")
        self._servers.proxied.append((self.path, base64.b64decode(login).decode()))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the proxy\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Names(socketserver.BaseRequestHandler):
    """A name server (RFC 1035) that knows one name."""

    def handle(self) -> None:
        query, reply = self.request
        question = query[12:]
        end = question.index(b"\0") + 5  # the name, its end, type and class
        wanted = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split("."))
        known = question[: end - 5].lower() == wanted
        is_address = question[end - 4 : end - 2] == b"\0\1"
        flags = b"\x81\x80" if known else b"\x81\x83"
        count = b"\0\1" if known and is_address else b"\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(map(int, ADDRESS.split(".")))
        head = query[:2] + flags + b"\0\1" + count + b"\0\0\0\0"
        body = question[:end] + (answer if known and is_address else b"")
        reply.sendto(head + body, self.client_address)
