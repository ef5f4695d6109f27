"""What a TLS port offers: protocols, and ciphers in the server's order of preference."""

from __future__ import annotations

import socket
import ssl
import warnings

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("tls",)

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
#: openssl reads every authority before it connects, which takes half of its time.
_TRUST_NOBODY = ("env", "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/dev/null")
_SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")


def collect(wanted: Wanted, run: Run) -> Found:
    """By port: `protocols` and `ciphers`, as far as the machine's own OpenSSL supports them."""
    warnings.simplefilter("ignore", DeprecationWarning)
    found: Items = {}
    for port in wanted["tls_ports"]:
        if not _listens(port):
            continue
        protocols: list[str] = []
        ciphers: list[str] = []
        for name, version in _VERSIONS.items():
            offered = _suites(port, run) if name == "TLSv1.3" else _ciphers(port, version)
            if offered:
                protocols.append(name)
                ciphers += [f"{name} {cipher}" for cipher in offered]
        found[str(port)] = {"protocols": protocols, "ciphers": ciphers}
    return {"tls": found}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


def _ciphers(port: int, version: ssl.TLSVersion) -> list[str]:
    """Connect, exclude the cipher that the server chose, and repeat until none is left."""
    found: list[str] = []
    while len(found) < 64:
        refused = "".join(f":!{cipher}" for cipher in found)
        chosen = _shake(port, version, f"ALL:COMPLEMENTOFALL:@SECLEVEL=0{refused}")
        if chosen is None or chosen in found:
            return found
        found.append(chosen)
    return found


def _shake(port: int, version: ssl.TLSVersion, ciphers: str) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.set_ciphers(ciphers)
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=socket.getfqdn()) as secure,
        ):
            chosen = secure.cipher()
            return chosen[0] if chosen else None
    except (OSError, ValueError):
        return None


def _suites(port: int, run: Run) -> list[str]:
    """The ciphers of TLS 1.3, tried one by one with openssl: Python can't select them."""
    found = []
    for suite in _SUITES:
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-brief"]
        code, out, err = run([*_TRUST_NOBODY, *argv, "-ciphersuites", suite], timeout=20)
        if code == 127:
            raise RuntimeError("openssl is not installed")
        if f"Ciphersuite: {suite}" in out + err:
            found.append(suite)
    return found
