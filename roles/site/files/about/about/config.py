"""Configuration: built-in defaults, overridden by a TOML file.

The file is ``/etc/about/about.toml``, or what ``ABOUT_CONFIG`` names;
``ABOUT_DATABASE_URL`` names another database than the file does. It holds
addresses and sizes, never a secret. A database on this machine is reached over
its unix socket as the unix user that the process runs as; the password for
another one is a systemd credential, ``database_password``. The key that signs
cookies is made on the machine itself (see :func:`secret_key`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import tomllib
from pathlib import Path
from typing import Any

DEFAULT_FILE = Path("/etc/about/about.toml")

log = logging.getLogger(__name__)


class ConfigError(Exception):
    """The configuration file cannot be used; the text says which and why."""


@dataclasses.dataclass(frozen=True)
class Config:
    database_url: str = (
        "mysql+pymysql://about@localhost/about?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4"
    )
    memcached: str = "127.0.0.1:11211"
    redis_url: str = "unix:///run/redis/redis-server.sock?db=0"
    #: The queue's name, and what all keys in memcached and Redis begin with.
    namespace: str = "about"
    state_dir: str = "/var/lib/about"
    list_cache_seconds: int = 60
    max_upload_bytes: int = 8 * 1024 * 1024
    #: The header in which the web server says who is signing in.
    user_header: str = "X-Remote-User"
    #: Who a visitor is who has not signed in; empty: nobody, who can only read.
    default_user: str = ""
    #: Not from the file, which everybody may read.
    database_password: str = dataclasses.field(default="", repr=False)

    @property
    def media_dir(self) -> Path:
        return Path(self.state_dir, "media")

    @property
    def secret_key_file(self) -> Path:
        return Path(self.state_dir, "secret_key")


def load_config(path: Path | None = None) -> Config:
    """Read the configuration; a missing default file means the defaults.

    Raises :class:`ConfigError` for a named file that is missing, for bad TOML and
    for a value of the wrong type. A key that this code does not know is only
    logged: the file is the newest release's, the code may be an older checkout.
    """
    named = path or (Path(os.environ["ABOUT_CONFIG"]) if "ABOUT_CONFIG" in os.environ else None)
    file = named or DEFAULT_FILE
    values: dict[str, Any] = {}
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is not None:
            raise ConfigError(f"{file}: no such file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    if "ABOUT_DATABASE_URL" in os.environ:
        values["database_url"] = os.environ["ABOUT_DATABASE_URL"]
    defaults = dataclasses.asdict(Config())
    del defaults["database_password"]
    for key, value in values.items():
        if key not in defaults:
            log.warning("%s: ignored the unknown key %s", file, key)
        elif type(value) is not type(defaults[key]):
            raise ConfigError(f"{file}: {key} must be of type {type(defaults[key]).__name__}")
    known = {key: value for key, value in values.items() if key in defaults}
    return Config(**known, database_password=_credential("database_password"))


def _credential(name: str) -> str:
    """A secret that systemd passed to this process; empty if it did not."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder, name) if folder else None
    return file.read_text(encoding="utf-8").rstrip("\n") if file and file.exists() else ""


def secret_key(file: Path) -> bytes:
    """The key that signs cookies, made on first use and then kept.

    Several processes may start at once: each writes its own temporary file and
    tries to link it into place, which only the first can; all read the winner's.
    """
    with contextlib.suppress(FileNotFoundError):
        return file.read_bytes()
    mine = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(32))
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(mine, file)
    finally:
        mine.unlink()
    return file.read_bytes()
