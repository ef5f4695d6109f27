"""OpenPGP public keys, as apt takes them for `Signed-By`."""

from __future__ import annotations

import base64
import binascii

_BEGIN = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = b"-----END PGP PUBLIC KEY BLOCK-----"
_PRIVATE = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
#: Tags of the packet that a key begins with (RFC 4880, 4.3).
_SECRET_KEY, _PUBLIC_KEY = 5, 6


def suffix(content: bytes) -> str:
    """The suffix that tells apt the format of a key's file: `.asc` or `.gpg`."""
    return ".asc" if _BEGIN in content else ".gpg"


def problem(content: bytes) -> str | None:
    """Why a file is not a public key, in a clause; None if it is one."""
    if _PRIVATE in content:
        return "it is a private key"
    if content[8:12] == b"KBXf":
        return "it is a keybox of gpg, which apt can't read; gpg --export writes the key"
    try:
        binary = _decoded(content) if _BEGIN in content else content
    except binascii.Error:
        return "its armour is damaged"
    tag = _tag(binary)
    if tag == _SECRET_KEY:
        return "it is a private key"
    return None if tag == _PUBLIC_KEY else "it is not an OpenPGP key"


def _tag(content: bytes) -> int | None:
    """The tag of the first packet, in the old format or the new one."""
    if not content or not content[0] & 0x80:
        return None
    return content[0] & 0x3F if content[0] & 0x40 else content[0] >> 2 & 0x0F


def _decoded(armoured: bytes) -> bytes:
    """The first block without its armour: headers, an empty line, base64, a checksum."""
    block = armoured.partition(_BEGIN)[2].partition(_END)[0].replace(b"\r", b"")
    lines = block.partition(b"\n\n")[2].splitlines()
    return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")))
