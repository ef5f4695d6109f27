"""Certificate authorities that the machine's programs trust."""

import hashlib
import os
import ssl

from devvm.parity.collect.collectors import common

AREAS = ("certificate",)

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
#: Where the package ca-certificates keeps what it brings.
_PACKAGED = "/usr/share/ca-certificates"


def collect(wanted, run):
    """What is trusted beyond the package's authorities, and which of these are not.

    `PACKAGE`: `trusted`, all or some. By an authority's name: `sha256`, the fingerprint of one that
    was added; by the file's name: `trusted: false` for a packaged one that was taken out.
    """
    packaged = _packaged(common.packaged(run))
    trusted = _trusted()
    absent = {packaged[print_] for print_ in packaged.keys() - trusted.keys()}
    found = {"ca-certificates": {"trusted": "some" if absent else "all"}}
    for fingerprint in trusted.keys() - packaged.keys():
        facts = found.setdefault(trusted[fingerprint], {"sha256": []})
        facts["sha256"] = sorted([*facts["sha256"], fingerprint])
    for name in absent:
        found[name] = {"trusted": False}
    return {"certificate": found}


def _packaged(known):
    """`{fingerprint: file}` of the authorities that a package brought, unchanged."""
    found = {}
    for folder, _, names in os.walk(_PACKAGED):
        for name in names:
            path = f"{folder}/{name}"
            content = common.read(path)
            if content and common.origin_of(path, content, known):
                found[_print(content.decode("ascii", "replace"))] = name
    return found


def _trusted():
    """`{fingerprint: name}` of what is in the bundle that programs read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=_BUNDLE)
    described, binary = context.get_ca_certs(), context.get_ca_certs(binary_form=True)
    return {
        hashlib.sha256(der).hexdigest(): _name(certificate["subject"])
        for certificate, der in zip(described, binary, strict=True)
    }


def _name(subject):
    parts = dict(pair for part in subject for pair in part)
    kinds = ("commonName", "organizationalUnitName", "organizationName")
    return next((parts[kind] for kind in kinds if kind in parts), "without a name")


def _print(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
