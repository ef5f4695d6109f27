"""The certificate authorities that programs on the machine trust."""

from __future__ import annotations

import hashlib
import os
import re
import ssl

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from devvm.parity.collect.interface import Found, Items, Packaged, Run, Wanted

AREAS = ("certificate",)

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
#: Where the package ca-certificates installs its authorities.
_PACKAGED = "/usr/share/ca-certificates"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def collect(wanted: Wanted, run: Run) -> Found:
    """Authorities that are trusted beyond the package's, and packaged ones that are not.

    `ca-certificates`: `trusted`, all or some of the packaged ones. By an authority's name, if it
    was added: `sha256`, its fingerprints. By a file's name, if a packaged one was removed:
    `trusted: false`.
    """
    packaged = _packaged(common.packaged(run))
    trusted = _trusted(packaged)
    absent = {packaged[print_] for print_ in packaged.keys() - trusted.keys()}
    found: Items = {"ca-certificates": {"trusted": "some" if absent else "all"}}
    added: dict[str, list[str]] = {}
    for fingerprint in trusted.keys() - packaged.keys():
        added.setdefault(trusted[fingerprint], []).append(fingerprint)
    found.update({name: {"sha256": sorted(prints)} for name, prints in added.items()})
    for name in absent:
        found[name] = {"trusted": False}
    return {"certificate": found}


def _packaged(known: Packaged) -> dict[str, str]:
    """`{fingerprint: file}` of the authorities that a package installed, if unchanged."""
    found = {}
    for folder, _, names in os.walk(_PACKAGED):
        for name in names:
            path = f"{folder}/{name}"
            content = common.read(path)
            if content and common.origin_of(path, content, known):
                found[_print(content.decode("ascii", "replace"))] = name
    return found


def _trusted(packaged: Mapping[str, str]) -> dict[str, str]:
    """`{fingerprint: name}` of the authorities in the bundle that programs read.

    Packaged ones go by their file's name: OpenSSL takes a second for the names of all of them.
    """
    with open(_BUNDLE, encoding="ascii", errors="replace") as file:
        bundle = file.read()
    certificates = _PEM.findall(bundle)
    if len(certificates) != bundle.count("-----BEGIN "):  # OpenSSL reads other kinds, too
        return _described(bundle)
    prints = {_print(pem): pem for pem in certificates}
    found = {print_: packaged[print_] for print_ in prints.keys() & packaged.keys()}
    added = [pem for print_, pem in prints.items() if print_ not in packaged]
    return found | (_described("\n".join(added)) if added else {})


def _described(bundle: str) -> dict[str, str]:
    """`{fingerprint: name}` of these authorities, as OpenSSL reads them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bundle)
    described: list[Any] = context.get_ca_certs()
    binary = context.get_ca_certs(binary_form=True)
    return {
        hashlib.sha256(der).hexdigest(): _name(certificate["subject"])
        for certificate, der in zip(described, binary, strict=True)
    }


def _name(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    parts = dict(pair for part in subject for pair in part)
    kinds = ("commonName", "organizationalUnitName", "organizationName")
    return next((parts[kind] for kind in kinds if kind in parts), "without a name")


def _print(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
