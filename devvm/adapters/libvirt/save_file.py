"""The start of a file that `virDomainSave` wrote: a header, the domain's XML, a cookie. No I/O.

Behind it is QEMU's migration stream, which has no name, UUID or path in it. libvirt refuses to
restore a domain under another name, so that a copy of it needs a changed start. The format is that
of libvirt's `src/qemu/qemu_saveimage.h`, version 2, used by libvirt since 0.9:

    magic     16 bytes, "LibvirtQemudSave"; while it is being written, "LibvirtQemudPart"
    version, length of what follows the header, was running, compression, offset of the cookie
    unused    14 numbers
    XML and NUL, cookie and NUL, padding

Numbers are of 4 bytes, in the host's byte order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from devvm.domain.errors import OperationError

_LAYOUT = struct.Struct("=16s5I56s")
_MAGIC = b"LibvirtQemudSave"
_VERSION = 2
#: Bytes; a longer start than this is not one.
_LENGTH_MAX = 64 * 1024**2
#: Bytes that are enough to read `length` from.
HEAD = _LAYOUT.size


@dataclass(frozen=True, kw_only=True)
class Start:
    """The start of a save file.

    Attributes:
        xml: The definition of the domain as it ran.
        length: Bytes of the whole start, header included.
    """

    xml: str
    length: int
    cookie: bytes
    was_running: int
    compression: int
    unused: bytes


def length(head: bytes) -> int:
    """Bytes of the whole start, from its first `HEAD` bytes.

    Raises:
        OperationError: it isn't a save file, or of a version that devvm doesn't know.
    """
    if len(head) < HEAD:
        raise _unknown("it is too short")
    magic, version, data, *_ = _LAYOUT.unpack(head[:HEAD])
    if magic != _MAGIC:
        raise _unknown("it does not begin with libvirt's mark of a complete one")
    if version != _VERSION:
        raise _unknown(f"its format has version {version}")
    if data > _LENGTH_MAX:
        raise _unknown(f"its definition would have {data} bytes")
    return HEAD + int(data)


def parse(start: bytes) -> Start:
    """The start of a save file, from its first `length` bytes.

    Raises:
        OperationError: it isn't one.
    """
    whole = length(start)
    if len(start) < whole:
        raise _unknown("it is too short")
    _, _, _, running, compression, cookie_at, unused = _LAYOUT.unpack(start[:HEAD])
    data = start[HEAD:whole]
    if cookie_at > len(data):
        raise _unknown("its parts do not fit together")
    xml = data[: cookie_at or None].partition(b"\0")[0]
    cookie = data[cookie_at:].partition(b"\0")[0] if cookie_at else b""
    try:
        text = xml.decode("utf-8")
    except UnicodeDecodeError:
        raise _unknown("its definition is not text") from None
    return Start(
        xml=text, length=whole, cookie=cookie,
        was_running=running, compression=compression, unused=unused,
    )  # fmt: skip


def changed(start: Start, xml: str) -> bytes:
    """The start with another definition, as long as before: the stream behind it stays in place.

    Raises:
        OperationError: the definition is too long.
    """
    definition = xml.encode() + b"\0"
    cookie_at = len(definition) if start.cookie else 0
    cookie = start.cookie + b"\0" if start.cookie else b""
    room = start.length - HEAD - len(definition) - len(cookie)
    if room < 0:
        raise _unknown(f"the new definition is {-room} bytes too long for it")
    header = _LAYOUT.pack(
        _MAGIC, _VERSION, start.length - HEAD,
        start.was_running, start.compression, cookie_at, start.unused,
    )  # fmt: skip
    return header + definition + cookie + b"\0" * room


def _unknown(reason: str) -> OperationError:
    return OperationError("the saved memory can't be used", details=reason)
