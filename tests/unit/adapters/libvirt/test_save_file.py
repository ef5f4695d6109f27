"""The start of libvirt's save files: changed in place, and refused where it isn't understood."""

import random
import struct

import pytest

from devvm.adapters.libvirt import save_file
from devvm.domain.errors import OperationError

XML = "<domain type='qemu' id='1'><name>dev1.devvm.test</name></domain>"


def written(xml=XML, cookie="<cookie/>", *, magic=b"LibvirtQemudSave", version=2, padding=1000):
    """What libvirt writes before QEMU's stream."""
    parts = xml.encode() + b"\0"
    at = len(parts) if cookie else 0
    parts += (cookie.encode() + b"\0" if cookie else b"") + b"\0" * padding
    return magic + struct.pack("=5I", version, len(parts), 1, 0, at) + b"\0" * 56 + parts


def test_what_libvirt_wrote_is_read():
    start = save_file.parse(written() + b"QEVM and the rest")
    assert (start.xml, start.cookie, start.was_running) == (XML, b"<cookie/>", 1)
    assert start.length == len(written()) == save_file.length(written()[: save_file.HEAD])


@pytest.mark.parametrize("cookie", ["<cookie/>", ""])
@pytest.mark.parametrize("xml", ["<domain/>", XML.replace("dev1", "d" * 900), "<name>dév</name>"])
def test_a_changed_start_is_as_long_and_has_everything_else(xml, cookie):
    start = save_file.parse(written(cookie=cookie))
    changed = save_file.changed(start, xml)
    assert len(changed) == start.length
    again = save_file.parse(changed)
    assert again.xml == xml
    assert (again.cookie, again.was_running, again.compression, again.length) == (
        start.cookie, start.was_running, start.compression, start.length,
    )  # fmt: skip
    assert save_file.changed(again, XML) == written(cookie=cookie)


def test_a_definition_that_is_too_long_is_refused():
    start = save_file.parse(written())
    with pytest.raises(OperationError) as caught:
        save_file.changed(start, XML + "x" * 1001)
    assert caught.value.details == "the new definition is 1 bytes too long for it"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "it is too short"),
        (written()[:50], "it is too short"),
        (written()[:-1], "it is too short"),
        (written(magic=b"LibvirtQemudPart"), "libvirt's mark of a complete one"),
        (b"QFI\xfb" + b"\0" * 4000, "libvirt's mark of a complete one"),
        (written(version=3), "its format has version 3"),
        (b"LibvirtQemudSave" + struct.pack("=5I", 2, 2**31, 1, 0, 0), "it is too short"),
        (b"LibvirtQemudSave" + struct.pack("=5I", 2, 2**31, 1, 0, 0) + b"\0" * 56, "would have"),
        (b"LibvirtQemudSave" + struct.pack("=5I", 2, 9, 1, 0, 10) + b"\0" * 65, "do not fit"),
        (b"LibvirtQemudSave" + struct.pack("=5I", 2, 9, 1, 0, 0) + b"\0" * 56 + b"\xff" * 9,
         "is not text"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(start, reason):
    with pytest.raises(OperationError) as caught:
        save_file.parse(start)
    assert reason in caught.value.details


def test_damaged_bytes_never_end_in_anything_else():
    chance = random.Random(4)
    for _ in range(2000):
        damaged = bytearray(written())
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(110)] = chance.randrange(256)
        try:
            start = save_file.parse(bytes(damaged))
            assert len(save_file.changed(start, start.xml)) == start.length
        except OperationError:
            pass
