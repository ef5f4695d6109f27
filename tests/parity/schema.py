"""The form of expectation files: what a machine must be, as data.

`expectations/*.yml` hold them, one file per role or function (README.md says it in words). They
are statements about production of their own and never quote a role's variables: a suite that did
would only prove that Ansible ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

#: What a machine can be; `collectors/facts.py` finds out.
Condition = Literal["container", "data_disk", "identity", "engineer"]

#: A value as a program prints it. YAML's `on` and `yes` are booleans: refused, to be quoted.
Scalar = StrictStr | StrictInt | StrictFloat


class ExpectationError(Exception):
    """An expectation file can't be accepted; the text names the file, the key and the reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Strict):
    """Something expected, perhaps of some machines only."""

    only_if: tuple[Condition, ...] = Field((), description="applies where all of these hold")
    unless: tuple[Condition, ...] = Field((), description="applies where none of these holds")


class Service(Item):
    """A systemd unit."""

    state: Literal["running", "active", "inactive"] | None = Field(
        "running", description="active: for units without a process of their own; null: any"
    )
    enabled: bool | None = Field(default=True, description="starts at boot; null: either way")


class Socket(Item):
    """A listening socket."""

    bind: tuple[str, ...] = Field(
        description="exactly these addresses; `own`: one of the machine's beside the loopback's"
    )
    process: str = Field(description="the program's file name")
    optional: bool = Field(default=False, description="may listen, and need not")


class Probe(Item):
    """An HTTP request, sent on the machine's loopback."""

    url: str = Field(description="`{host}` is the machine's own name")
    status: int = 200
    headers: Mapping[str, str] = Field({}, description="headers with exactly these values")
    contains: str | None = Field(None, description="text in the first 4 KiB of the answer")


class Tls(Item):
    """A TLS port."""

    port: int = 443
    version: str = Field("TLSv1.3", description="what a current client and it agree on")
    trusted: Item | None = Field(
        Item(), description="by the machine's own trust store; null: not checked"
    )
    days_left: int = Field(7, description="the certificate is good for at least so many days")


class Site(_Strict):
    """The application's own report."""

    healthz: tuple[str, ...] = Field((), description="dependencies that /healthz must call ok")
    revision: tuple[str, ...] = Field(
        (), description="a command that names the code on disk, which must be the running one"
    )


class Metrics(Item):
    """An exporter."""

    url: str
    samples: Mapping[str, float | None] = Field(description="value of a metric; null: any")


class Command(Item):
    """A command, run as root, that prints a line of JSON. It must leave nothing behind."""

    argv: tuple[str, ...]
    cwd: str = "/"
    timeout: float = 60
    prints: Mapping[str, Any] = Field(description="keys with these values")


class File(Item):
    """A file, a directory or a link that is there."""

    mode: str | None = None
    owner: str | None = Field(None, description="USER:GROUP")
    link: str | None = Field(None, description="the target of a symbolic link")


class Expectations(Item):
    """One file of expectations. Its conditions hold for all that is in it."""

    role: str
    overlay: Literal["any", "dev", "none"] = Field(
        "any", description="dev: machines with the dev overlay only; none: those without"
    )
    booted: bool = Field(default=False, description="the machine has finished booting")
    no_failed_units: bool = False
    no_other_sockets: bool = Field(
        default=False, description="nothing listens that no expectation names"
    )
    packages: tuple[str, ...] = Field((), description="installed Debian packages")
    services: Mapping[str, Service] = Field({}, description="`.service` may be left out")
    sockets: Mapping[str, Socket] = Field({}, description="by `PROTOCOL/PORT`")
    configs: tuple[str, ...] = Field((), description="that parse; names of collectors/configs.py")
    settings: Mapping[str, Mapping[str, Scalar]] = Field(
        {}, description="by server (collectors/settings.py): what it says when asked"
    )
    sysctls: Mapping[str, Scalar] = {}
    http: Mapping[str, Probe] = {}
    tls: Mapping[str, Tls] = {}
    site: Site = Site()
    metrics: Mapping[str, Metrics] = {}
    commands: Mapping[str, Command] = Field({}, description="by the name of the check")
    files: Mapping[str, File] = {}
    state_paths: tuple[str, ...] = Field((), description="directories kept on the data disk")


def load(folder: Path, *, overlay: str) -> list[Expectations]:
    """Read the files of a folder that concern machines with (`dev`) or without (`none`) overlay.

    Raises:
        ExpectationError: a file is not YAML or does not have this form, or there is none.
    """
    files = sorted(folder.glob("*.yml"))
    if not files:
        raise ExpectationError(f"there are no expectations (*.yml) in {folder}")
    every = [_read(file) for file in files]
    return [one for one in every if one.overlay in ("any", overlay)]


def _read(file: Path) -> Expectations:
    try:
        return Expectations.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExpectationError(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ExpectationError(f"{file}: {key}: {first['msg']}") from None
