"""Passwords and tokens, read from the files that the configuration names."""

from __future__ import annotations

from pathlib import Path

from devvm.domain.errors import UsageError

#: Fits in a line of IRC and in an HTTP header.
_LONGEST = 400


def read_secret(path: Path) -> str:
    """Return the secret in a file: its only line.

    Raises:
        UsageError: the file can't be read, is world-readable, or doesn't hold such a line. The
            error never quotes its content.
    """
    try:
        if path.stat().st_mode & 0o004:
            raise UsageError(
                f"{path} holds a secret, but everybody can read it",
                resolution=f"chmod o-rwx {path}",
            )
        with path.open("rb") as file:
            content = file.read(_LONGEST + 2)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read", details=error.strerror, resolution=f"ls -l {path}"
        ) from None
    secret = content.decode("ascii", errors="replace").strip()
    if not secret or len(content) > _LONGEST + 1 or not (secret.isascii() and secret.isprintable()):
        raise UsageError(
            f"{path} does not hold a secret",
            details=f"it must be one line of at most {_LONGEST} letters, digits and symbols",
        )
    return secret
