"""What the web server answers on the loopback interface, under the machine's own name.

HTTP is written by hand: importing Python's client takes an emulated processor most of a second.
"""

from __future__ import annotations

import json
import socket
import ssl
import time

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from devvm.parity.collect.interface import Answers, Run, Wanted

#: Seconds to wait for /healthz to become healthy if a worker has only just started.
_PATIENCE = 15.0
_BODY_KEPT = 4096


def probe(wanted: Wanted, run: Run) -> Answers:
    """The answers to each URL, the site's health, and the exporters' samples."""
    host = socket.getfqdn()
    path = wanted["healthz"]
    return {
        "probes": {name: _try(_probe, url, host) for name, url in wanted["http"].items()},
        "health": _try(_health, path, host) if path else None,
        "metrics": {
            name: _try(_samples, exporter["url"], exporter["samples"])
            for name, exporter in wanted["metrics"].items()
        },
    }


def _try(action: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    try:
        return action(*arguments)
    except (OSError, ValueError) as error:
        return {"error": str(error) or type(error).__name__}


def _probe(url: str, host: str) -> dict[str, Any]:
    status, headers, body = _get(url, host)
    text = body.decode("utf-8", "replace")
    return {"status": status, "headers": headers, "body": text[:_BODY_KEPT]}


def _health(path: str, host: str) -> dict[str, Any]:
    """The report of /healthz: the first healthy one, or the last before `_PATIENCE` runs out."""
    end = time.monotonic() + _PATIENCE
    while True:
        status, _, body = _get(f"https://{{host}}{path}", host)
        if status == 200 or time.monotonic() > end:
            return _report(status, body)
        time.sleep(1)


def _report(status: int, body: bytes) -> dict[str, Any]:
    try:
        report = json.loads(body)
        return {"checks": report["checks"], "revision": report["revision"]}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"status {status}, without a report") from None


def _samples(url: str, names: Sequence[str]) -> dict[str, Any]:
    """The values of the named metrics; for one with labels, the first series."""
    status, _, body = _get(url, "127.0.0.1")
    if status != 200:
        raise ValueError(f"{url} answered {status}")
    values: dict[str, float] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name in names and name not in values:
            values[name] = float(line.rpartition(" ")[2])
    return {"values": values}


def _get(url: str, host: str) -> tuple[int, dict[str, str], bytes]:
    """GET over loopback. The certificate is not verified: the probe `certificate` does that."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    name, _, port = netloc.replace("{host}", host).partition(":")
    number = int(port or (443 if scheme == "https" else 80))
    with socket.create_connection(("127.0.0.1", number), timeout=20) as plain:
        connection: socket.socket = plain
        if scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(plain, server_hostname=name)
        with connection:
            # HTTP/1.0: the answer is not chunked and ends with the connection.
            request = f"GET {slash or '/'}{path} HTTP/1.0\r\nHost: {name}\r\n"
            connection.sendall(f"{request}User-Agent: devvm-parity\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
    if not answer.startswith(b"HTTP/"):
        raise ValueError(f"{url} did not answer with HTTP")
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = (line.partition(":") for line in lines[1:])
    status = int(lines[0].split()[1])
    return status, {key.lower(): value.strip() for key, _, value in headers}, body
