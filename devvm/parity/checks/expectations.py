"""The format of expectation files: what must work on a machine, as data.

There is one file in a stack's `checks/` per role or function (tests/parity/README.md has the keys).
What a machine *is*, the production manifest says. Neither quotes a role's variables: a suite that
did would only prove that Ansible ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devvm.parity.production.manifest import Condition

#: Beside the files: a folder of the stack's own collectors.
COLLECTORS = "collectors"


class ExpectationError(Exception):
    """An expectation file is invalid; the message names the file, the key and the reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Strict):
    """An expectation that may be limited to some machines."""

    only_if: tuple[Condition, ...] = Field((), description="applies where all of these hold")
    unless: tuple[Condition, ...] = Field((), description="applies where none of these holds")


class Probe(Item):
    """An HTTP request, sent to the machine's loopback address."""

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
    """The application's own health report."""

    healthz: tuple[str, ...] = Field((), description="dependencies that /healthz must call ok")
    revision: tuple[str, ...] = Field(
        (), description="a command that names the code on disk, which must be the running one"
    )


class Metrics(Item):
    """An exporter of metrics."""

    url: str
    samples: Mapping[str, float | None] = Field(description="value of a metric; null: any")


class Program(_Strict):
    """A command, run as root. It must leave nothing behind."""

    argv: tuple[str, ...]
    cwd: str = "/"
    timeout: float = 60


class Command(Program, Item):
    """A command that prints one line of JSON."""

    prints: Mapping[str, Any] = Field(description="keys with these values")


class Expectations(Item):
    """A file of expectations. Its conditions apply to all of them."""

    role: str
    overlay: Literal["any", "dev", "none"] = Field(
        "any", description="dev: machines with the dev overlay only; none: those without"
    )
    booted: bool = Field(default=False, description="the machine has finished booting")
    no_failed_units: bool = False
    configs: tuple[str, ...] = Field((), description="that parse; names in the probe `configs`")
    http: Mapping[str, Probe] = {}
    tls: Mapping[str, Tls] = {}
    site: Site = Site()
    metrics: Mapping[str, Metrics] = {}
    commands: Mapping[str, Command] = Field({}, description="by the name of the check")
    application: Mapping[str, Program] = Field(
        {}, description="what is deployed: the last line of each is a fact `application/NAME`"
    )
    paths: tuple[str, ...] = Field(
        (), description="files and links that are captured beside those of the collector `files`"
    )
    state_paths: tuple[str, ...] = Field((), description="directories kept on the data disk")


def load(folder: Path, *, overlay: str) -> list[Expectations]:
    """Read the files of a folder that apply to machines with (`dev`) or without (`none`) overlay.

    Raises:
        ExpectationError: a file is not YAML or has the wrong format.
    """
    every = [_read(file) for file in sorted(folder.glob("*.yml"))]
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
