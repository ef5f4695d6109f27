"""Passwords and tokens that the configuration names the files of."""

from __future__ import annotations

from pathlib import Path

from devvm.domain.errors import UsageError

#: What fits a line of IRC and a header of HTTP.
_LONGEST = 400


def read_secret(path: Path) -> str:
    """The secret in a file: its only line.

    Raises:
        UsageError: it can't be read, everybody can read it, or it holds no such line; never says
            what it holds.
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
