"""OpenPGP keys: what apt can use is told from what people put into such a file by mistake."""

import base64

import pytest

from devvm.domain.openpgp import problem, suffix

OLD_FORMAT = b"\x98\x33\x04" + 51 * b"k"
NEW_FORMAT = b"\xc6\x33\x04" + 51 * b"k"


def armoured(content, kind="PUBLIC", head="Comment: x\n"):
    lines = base64.encodebytes(content).decode()
    return (
        f"-----BEGIN PGP {kind} KEY BLOCK-----\n{head}\n{lines}=abcd\n"
        f"-----END PGP {kind} KEY BLOCK-----\n"
    ).encode()


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (OLD_FORMAT, ".gpg"),
        (NEW_FORMAT, ".gpg"),
        (armoured(OLD_FORMAT), ".asc"),
        (armoured(OLD_FORMAT, head=""), ".asc"),
        (b"The key of a vendor\n\n" + armoured(NEW_FORMAT).replace(b"\n", b"\r\n"), ".asc"),
    ],
)
def test_a_public_key_is_one_in_both_forms(content, file):
    assert problem(content) is None
    assert suffix(content) == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an OpenPGP key"),
        (b"<html>404</html>", "not an OpenPGP key"),
        (b"\x8b\x00\x1f\x08", "not an OpenPGP key"),  # something else that is binary
        (armoured(b"hello"), "not an OpenPGP key"),
        (armoured(OLD_FORMAT).replace(b"a", b""), "armour is damaged"),
        (armoured(b"\x94\x33"), "private key"),
        (armoured(b"\x94\x33", "PRIVATE"), "private key"),
        (b"\x94\x33\x04", "private key"),
        (b"\xc5\x33\x04", "private key"),
        (b"\0\0\0 \x01\x01\0\2KBXf\0", "keybox"),
    ],
)
def test_anything_else_is_said(content, said):
    assert said in problem(content)
