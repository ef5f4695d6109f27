"""Gives the container in which a box is built the host's way to the network.

slirp4netns, a process on the host, passes the container's connections on as the host's own: the
container reaches what the host reaches, except the host's loopback, and nobody reaches it. Host
names, proxies and a company's CA come with it, in files in /run, so that nothing of it can stay in
the box.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import signal
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.system import process

_FOLDER = "/run/devvm-build"
#: The Python for Ansible's modules, with the variables for proxies and the CA.
PYTHON = f"{_FOLDER}/python3"

_CA = f"{_FOLDER}/ca.crt"
#: The variables that programs look for their CA certificates in: OpenSSL and what uses it (Python,
#: PHP, Ruby), git, curl, requests, pip, Node.
_CA_VARIABLES = (
    "SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy")
#: What no proxy is asked for: the container's own services.
_OWN = ("localhost", "127.0.0.1", "::1")
#: The certificates that the container trusts already, of Debian's package ca-certificates.
_TRUSTED = "etc/ssl/certs/ca-certificates.crt"
_CERTIFICATE, _PRIVATE = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"

#: slirp4netns answers at this address, with the host's name servers.
_RESOLVED = "[Resolve]\nDNS=10.0.2.3\n"
_DROP_IN = "/run/systemd/resolved.conf.d/devvm-build.conf"
_CONNECT_SECONDS = 30.0


@dataclass(frozen=True)
class Uplink:
    """What a container needs when it starts.

    Attributes:
        options: Options for systemd-nspawn.
        tmpfiles: Lines for systemd-tmpfiles in the container.
    """

    options: list[str]
    tmpfiles: str


def prepare(
    folder: Path, root: Path, *, ca_file: Path | None, environ: Mapping[str, str] = os.environ
) -> Uplink:
    """Write the files that a container needs.

    Args:
        folder: Where; only root may enter it, because a proxy's URL may contain a password.
        root: The container's root file system; only read.
        ca_file: Certificates to trust, besides those that the container trusts.
        environ: The environment with the proxies.

    Raises:
        HostNotReadyError: a proxy is one that the container can't reach, or the certificates can't
            be read.
    """
    resolved = folder / "resolved.conf"
    resolved.write_text(_RESOLVED)
    resolved.chmod(0o644)
    options = [f"--bind-ro={resolved}:{_DROP_IN}"]
    variables = _proxies(environ)
    if ca_file is not None:
        bundle = folder / "ca.crt"
        bundle.write_bytes(_trusted(root) + _certificates(ca_file))
        bundle.chmod(0o644)
        options.append(f"--bind-ro={bundle}:{_CA}")
        variables |= dict.fromkeys(_CA_VARIABLES, _CA)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    script = f'#!/bin/sh\n{exports}exec /usr/bin/python3 "$@"\n'
    return Uplink(
        options,
        f"d {_FOLDER} 0755 root root\n"
        f"f+~ {PYTHON} 0755 root root - {b64encode(script.encode()).decode()}\n",
    )


@contextmanager
def connected(leader: int, log: Path) -> Iterator[None]:
    """Connect a container to the network until the block ends.

    If this process is killed, the connection ends at once.

    Args:
        leader: The PID of the container's first process.
        log: File to append slirp4netns' output to.

    Raises:
        OperationError: it can't be connected.
    """
    argv = [
        "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback",
        "--enable-sandbox", "--enable-seccomp", str(leader), "tap0",
    ]  # fmt: skip
    with process.background(argv, log=log, death_signal=signal.SIGKILL) as slirp:
        deadline = time.monotonic() + _CONNECT_SECONDS
        while not _has_route(leader):
            if slirp.poll() is not None or time.monotonic() > deadline:
                raise OperationError(
                    "the build container can't be connected to the network",
                    details="slirp4netns did not connect it in time"
                    if slirp.poll() is None
                    else f"slirp4netns ended with {slirp.poll()}",
                    resolution="read the log, and see that this host has /dev/net/tun; then: sudo "
                    "devvm box build",
                    log=log,
                )
            time.sleep(0.05)
        yield


def _has_route(leader: int) -> bool:
    argv = ["nsenter", "-t", str(leader), "-n", "ip", "-json", "route", "show", "default"]
    return bool(json.loads(process.run(argv, check=False).stdout or "[]"))


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for the host's proxies, in both spellings; none if it has no proxy."""
    found = {}
    for name in _PROXIES:
        value = environ.get(name) or environ.get(name.upper())
        if value:
            _demand_reachable(name, value)
            found[name] = value
    if found:
        exceptions = environ.get("no_proxy") or environ.get("NO_PROXY")
        found["no_proxy"] = ",".join([*filter(None, [exceptions]), *_OWN])
    return found | {name.upper(): value for name, value in found.items()}


def _demand_reachable(name: str, proxy: str) -> None:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host = parts.hostname or ""
    loopback = host == "localhost"
    with suppress(ValueError):  # a name
        loopback = ipaddress.ip_address(host).is_loopback
    if loopback:
        raise HostNotReadyError(
            f"the container in which the box is built can't reach the proxy on {host}",
            details=f"{name} names this host's loopback address, and the container has its own",
            resolution="let the proxy listen on another address of this host, such as that of a "
            f"bridge, and set {name} to it; then: sudo --preserve-env={name} devvm box build",
        )


def _certificates(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        problem = None if _CERTIFICATE in content else "it has no certificate in PEM format"
        if _PRIVATE in content:
            problem = "it has a private key, which roles must not see"
    except OSError as error:
        content, problem = b"", error.strerror
    if problem is not None:
        raise HostNotReadyError(
            f"the CA certificates in {file} can't be used",
            details=problem,
            resolution="correct box.ca_file (devvm config show)",
        )
    return content


def _trusted(root: Path) -> bytes:
    """The certificates that the container trusts; none if it lacks ca-certificates."""
    file = root / _TRUSTED
    # Roles have been at work in this tree: a link in it may lead to a file of the host.
    if file.is_symlink() or not file.resolve().is_relative_to(root.resolve()):
        return b""
    try:
        return file.read_bytes() + b"\n"
    except FileNotFoundError:
        return b""
