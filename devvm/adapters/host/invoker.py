"""The person who typed the command: login, public keys, git identity."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Sequence
from pathlib import Path

from devvm.adapters.host.dotfiles import read as read_dotfiles
from devvm.domain.errors import HostNotReadyError, NotFoundError, UsageError
from devvm.domain.name import RESERVED_NAMES
from devvm.domain.vm import Engineer
from devvm.system import process

#: Debian's rule for logins (adduser's NAME_REGEX), without capital letters, which it warns about.
_LOGIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PUBLIC_KEY = re.compile(
    r"(?P<type>ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" (?P<key>[A-Za-z0-9+/]{40,}={0,3})( (?P<comment>[^\r\n]*))?"
)


def validate_login(login: str) -> str:
    """Return `login` if a Debian account in the VM can have it.

    Raises:
        UsageError: it can't. The error says why.
    """
    if not _LOGIN.fullmatch(login):
        raise UsageError(
            f"{login!r} can't be an engineer's login",
            details="use 1 to 32 of a-z, 0-9, '_' and '-', start with a letter or '_'",
            resolution="devvm create NAME --engineer LOGIN",
        )
    if login in RESERVED_NAMES:
        raise UsageError(
            f"{login!r} can't be an engineer's login: the VM has an account of that name",
            resolution="devvm create NAME --engineer LOGIN",
        )
    return login


class Invoker:
    """Finds out who runs devvm, and that person's keys and git identity."""

    @property
    def login(self) -> str:
        """The person's login; under sudo, that of the person who ran sudo."""
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.geteuid()).pw_name

    def engineer(
        self,
        login: str,
        key_files: Sequence[Path] = (),
        *,
        shell: str | None = None,
        dotfiles: Path | None = None,
    ) -> Engineer:
        """The engineer with this login, and with the person's keys and git identity.

        Args:
            login: Name of the account in the VM.
            key_files: Files with public keys; by default the agent's keys and `~/.ssh/*.pub`.
            shell: The person's login shell.
            dotfiles: A folder with files for the home directory; `~` is the person's.

        Raises:
            UsageError: the login, a key file or the dotfiles can't be used.
        """
        validate_login(login)
        if dotfiles is not None and dotfiles.parts[:1] == ("~",):
            dotfiles = _home().joinpath(*dotfiles.parts[1:])
        keys = [key for path in key_files for key in read_public_keys(path)] or self._own_keys()
        host = os.uname().nodename.split(".")[0]
        return Engineer(
            login=login,
            authorized_keys=tuple(dict.fromkeys(keys)),
            git_name=_git("user.name") or login,
            git_email=_git("user.email") or f"{login}@{host}",
            shell=shell or "",
            files=read_dotfiles(dotfiles) if dotfiles else {},
        )

    def _own_keys(self) -> list[str]:
        found = _agent_keys()
        for path in sorted((_home() / ".ssh").glob("*.pub")):
            try:
                found += _parse(path.read_text(encoding="utf-8", errors="replace"))
            except OSError:  # another user's file or a dangling link; the others may suffice
                continue
        return found


def read_public_keys(path: Path) -> list[str]:
    """Return the public keys in a file that the user named.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it holds a private key or no key, or can't be read.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no key file {path}",
            resolution="ls ~/.ssh/*.pub; to create a key: ssh-keygen -t ed25519",
        ) from None
    except OSError as error:
        raise UsageError(
            f"the key file {path} can't be read",
            details=error.strerror,
            resolution=f"ls -l {path}",
        ) from None
    if "PRIVATE KEY" in text:
        raise UsageError(
            f"{path} holds a private key",
            details="devvm only needs the public key; keep the private one to yourself",
            resolution=f"--ssh-key {path}.pub",
        )
    keys = _parse(text)
    if not keys:
        raise UsageError(
            f"{path} holds no public SSH key",
            details="a public key is one line, such as: ssh-ed25519 AAAAC3Nza... you@laptop",
            resolution="ls ~/.ssh/*.pub",
        )
    return keys


def _parse(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if _PUBLIC_KEY.fullmatch(line)]


def _agent_keys() -> list[str]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    try:
        listed = process.run(["ssh-add", "-L"], check=False, timeout=10)
    except HostNotReadyError:
        return []
    return _parse(listed.stdout) if listed.returncode == 0 else []


def _git(key: str) -> str | None:
    try:
        found = process.run(
            ["git", "config", "--global", "--get", key], check=False, env={"HOME": str(_home())}
        )
    except HostNotReadyError:
        return None
    return found.stdout.strip() or None


def _home() -> Path:
    """The person's home directory, even if sudo has set HOME to root's."""
    user = os.environ.get("SUDO_USER")
    if user:
        try:
            return Path(pwd.getpwnam(user).pw_dir)
        except KeyError:
            pass
    return Path.home()
