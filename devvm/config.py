"""Configuration: strict, typed, each value with its meaning.

Precedence, last wins: defaults, `/etc/devvm/config.toml`, `$XDG_CONFIG_HOME/devvm/config.toml`,
the file that `DEVVM_CONFIG` names, and the command's own options.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from devvm.errors import UsageError

_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]")
_DISK_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExtraDiskConfig(_Strict):
    """A further disk."""

    name: str = Field(description="appears in the VM as /dev/disk/by-id/virtio-NAME")
    size_gib: int = Field(ge=1, le=4096, description="size, GiB")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _DISK_NAME.fullmatch(value) or value in {"devvm-data", "data", "root"}:
            raise ValueError(
                "use 1 to 16 of a-z, 0-9 and '-', beginning with a letter; not data or root"
            )
        return value


class VmConfig(_Strict):
    """What a new VM gets."""

    cpus: int = Field(2, ge=1, le=64, description="virtual processors")
    memory_mib: int = Field(2048, ge=768, le=1048576, description="memory, MiB")
    root_gib: int = Field(20, ge=20, le=1024, description="size of the root disk, GiB")
    data_gib: int = Field(20, ge=1, le=4096, description="size of the data disk, GiB")
    driver: Literal["auto", "kvm", "qemu"] = Field(
        "auto", description="auto: KVM where it truly runs guests, emulation otherwise"
    )
    extra_disks: tuple[ExtraDiskConfig, ...] = Field((), description="further disks", strict=False)


class NetworkConfig(_Strict):
    """devvm's libvirt network."""

    name: str = Field("devvm", pattern=r"^[a-z][a-z0-9-]{0,14}$", description="libvirt's name")
    address: str = Field("192.168.219.0/24", description="its range, CIDR")
    domain: str = Field("devvm.test", description="DNS domain of the VMs")
    forward: Literal["nat", "none"] = Field(
        "nat", description="nat: VMs reach what the host reaches; none: only host and VMs"
    )

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        if not 16 <= network.prefixlen <= 28:
            raise ValueError("use a range between /16 and /28")
        if not network.is_private:
            raise ValueError("use a private range")
        return value

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if len(value) > 100 or not _DOMAIN.fullmatch(value):
            raise ValueError("not a DNS domain")
        return value


class BoxConfig(_Strict):
    """How boxes are built."""

    mirror: str = Field(
        "http://deb.debian.org/debian", pattern=r"^https?://[^\s'\"]+$",
        description="Debian mirror that packages come from",
    )  # fmt: skip
    security_mirror: str = Field(
        "http://deb.debian.org/debian-security", pattern=r"^https?://[^\s'\"]+$",
        description="mirror of Debian's security updates",
    )  # fmt: skip


class TrashConfig(_Strict):
    """What was destroyed or replaced, and can be had back."""

    days: int = Field(14, ge=1, le=3650, description="days until it may be deleted for good")


class Config(_Strict):
    """All of devvm's settings."""

    uri: str = Field("qemu:///system", description="libvirt host")
    state_dir: Annotated[Path, Field(strict=False)] = Field(
        Path("/var/lib/devvm"), description="what only the host knows: boxes, CA, journals, logs"
    )
    pool: str = Field("devvm", pattern=r"^[a-z][a-z0-9-]{0,14}$", description="libvirt's pool")
    pool_path: Annotated[Path, Field(strict=False)] = Field(
        Path("/var/lib/libvirt/images/devvm"), description="where the pool keeps its volumes"
    )
    production_dir: Annotated[Path | None, Field(strict=False)] = Field(
        None,
        description="folder that says what production is: manifest.yml, overlay/, roles.yml, "
        "waivers.yml; without it the reference stack's",
    )
    vm: VmConfig = VmConfig()
    network: NetworkConfig = NetworkConfig()
    box: BoxConfig = BoxConfig()
    trash: TrashConfig = TrashConfig()

    @field_validator("state_dir", "pool_path", "production_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("use an absolute path")
        return value


def files() -> list[Path]:
    """The configuration files that exist, in order of precedence, last wins."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    paths = [Path("/etc/devvm/config.toml"), home / "devvm" / "config.toml"]
    named = os.environ.get("DEVVM_CONFIG")
    if named:
        if not Path(named).is_file():
            raise UsageError(
                f"there is no configuration file {named}",
                details="the environment variable DEVVM_CONFIG names it",
                resolution="unset DEVVM_CONFIG",
            )
        paths.append(Path(named))
    return [p for p in paths if p.is_file()]


def load(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Load the configuration.

    Args:
        overrides: Values of command-line options, by section: `{"vm": {"cpus": 4}}`. `None`
            values are passed over.

    Raises:
        UsageError: a file is not TOML, or a key or value can't be accepted; names file and key.
    """
    merged: dict[str, Any] = {}
    for path in files():
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path} is not valid TOML",
                details=str(error),
                resolution="devvm config show --help",
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path} can't be read", details=str(error), resolution=f"ls -l {path}"
            ) from None
        _validate(data, str(path))  # each file by itself, so that the message names it
        merged = _merge(merged, data)
    given = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in (overrides or {}).items()
    }
    return _validate(_merge(merged, given), "the command line")


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _validate(data: Mapping[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            reason = f"unknown key; the keys of this section are: {_known_keys(first['loc'])}"
        else:
            reason = f"{first['msg'].removeprefix('Value error, ')} (it is {first['input']!r})"
        raise UsageError(
            f"{source}: {key}: {'unknown key' if 'unknown key' in reason else 'bad value'}",
            details=reason,
            resolution="devvm config show",
        ) from None


def _known_keys(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return ", ".join(model.model_fields)
