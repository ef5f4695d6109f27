"""The certificate of a TLS port, verified as a program on this machine would verify it."""

from __future__ import annotations

import socket
import ssl
import time

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from typing import Any

    from devvm.parity.collect.interface import Answers, Run, Wanted


def probe(wanted: Wanted, run: Run) -> Answers:
    """`{name: {"trusted": …, "error": …, "version": …, "days_left": …}}`, for each port.

    `trusted`: by the machine's own trust store and for the machine's own name.
    """
    host = socket.getfqdn()
    return {name: _look(port, host) for name, port in wanted["tls"].items()}


def _look(port: int, host: str) -> dict[str, Any]:
    try:
        version, certificate = _connect(port, host, ssl.create_default_context())
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", None) or str(error)
        return {"trusted": False, "error": reason, **_unjudged(port, host)}
    except OSError as error:
        return {"trusted": False, "error": str(error), "version": None, "days_left": None}
    end = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((end - time.time()) / 86400)
    return {"trusted": True, "error": None, "version": version, "days_left": days}


def _unjudged(port: int, host: str) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        version, _ = _connect(port, host, context)
    except OSError:
        version = None
    return {"version": version, "days_left": None}


def _connect(port: int, host: str, context: ssl.SSLContext) -> tuple[str | None, Any]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.version(), secure.getpeercert()
