"""The configuration: strict and typed, with a description of each setting.

Precedence, last wins: defaults, `/etc/devvm/config.toml`, `$XDG_CONFIG_HOME/devvm/config.toml`,
the file named by `DEVVM_CONFIG`, and the command's options.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from devvm.config.base import OptionalPath, Section, absolute
from devvm.config.person import EngineerConfig, GitConfig, SshConfig
from devvm.domain.errors import UsageError
from devvm.domain.rollout import quiet_hours as quiet

_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]")
_DISK_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")

_MIRROR = re.compile(r"https?://[A-Za-z0-9\[][^\s'\"\\<>]*")

_NEVER_SHOWN = {"rollout.hooks.webhook"}

#: A TOML array of strings.
_Texts = Annotated[tuple[str, ...], Field(strict=False)]


class ExtraDiskConfig(Section):
    """An additional disk."""

    name: str = Field(description="appears in the VM as /dev/disk/by-id/virtio-NAME")
    size_gib: int = Field(ge=1, le=4096, description="size in GiB")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _DISK_NAME.fullmatch(value) or value in {"devvm-data", "data", "root"}:
            raise ValueError(
                "use 1 to 16 of a-z, 0-9 and '-', starting with a letter; not data or root"
            )
        return value


class VmConfig(Section):
    """Defaults for new VMs."""

    cpus: int = Field(2, ge=1, le=64, description="virtual CPUs")
    memory_mib: int = Field(2048, ge=768, le=1048576, description="memory in MiB")
    root_gib: int = Field(20, ge=20, le=1024, description="size of the root disk in GiB")
    data_gib: int = Field(20, ge=1, le=4096, description="size of the data disk in GiB")
    driver: Literal["auto", "kvm", "qemu"] = Field(
        "auto", description="auto: KVM if it can run guests, otherwise emulation"
    )
    emulated_cpu: str = Field(
        "qemu64",
        pattern=r"^[A-Za-z0-9._-]{1,40}$",
        description="QEMU's processor model for emulation; maximum: all that QEMU can emulate, "
        "for software that needs AVX or SSE4; slower",
    )
    warm: bool = Field(
        default=True,
        description="start new VMs and roots from the memory of a warm box, if there is one",
    )
    extra_disks: tuple[ExtraDiskConfig, ...] = Field(
        (), description="additional disks", strict=False
    )
    boot_timeout_seconds: int = Field(
        600,
        ge=30,
        le=7200,
        description="seconds a VM may take to boot; with emulation it takes minutes",
    )


class NetworkConfig(Section):
    """devvm's libvirt network."""

    name: str = Field(
        "devvm", pattern=r"^[a-z][a-z0-9-]{0,14}$", description="name of the libvirt network"
    )
    address: str = Field("192.168.219.0/24", description="its address range, as CIDR")
    domain: str = Field("devvm.test", description="DNS domain of the VMs")
    forward: Literal["nat", "none"] = Field(
        "nat",
        description="nat: VMs reach what the host reaches; none: only the host and each other",
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


def _mirrors(value: object) -> object:
    """Accept one address or several."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not found:
        raise ValueError('not a mirror; write one as "http://deb.debian.org/debian", or several '
                         "in a list")  # fmt: skip
    for address in found:
        if not isinstance(address, str) or not _MIRROR.fullmatch(address):
            raise ValueError(f"{address!r} is not the address of a mirror; it must start "
                             "with http:// or https:// and name a host")  # fmt: skip
    return tuple(found)


#: Mirrors of one archive, in the order in which they are tried: a string or a TOML array.
_Mirrors = Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_mirrors)]

_DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class BoxConfig(Section):
    """How boxes are built."""

    mirror: _Mirrors = Field(
        ("http://deb.debian.org/debian",),
        description="Debian mirrors to get packages from, asked in order; the first decides "
        "which packages there are, and the VMs use it too",
    )
    security_mirror: _Mirrors = Field(
        ("http://deb.debian.org/debian-security",),
        description="the same for Debian's security updates",
    )
    keyring: Annotated[Path, Field(strict=False)] = Field(
        _DEBIAN_KEYRING, description="keys that sign the mirrors' package lists"
    )

    repository_mirrors: dict[str, _Mirrors] = Field(
        {},
        description="mirrors of the stack's other repositories, by name, asked in order instead "
        "of the address in stack.yml; a URL may have a login",
    )

    ca_file: OptionalPath = Field(
        None,
        description="CA certificates that roles trust while a box is built with network, besides "
        "Debian's",
    )

    @field_validator("keyring", "ca_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value)

    @property
    def role_variables(self) -> dict[str, str]:
        """Variables for the role `base`: the mirrors that the machine itself uses."""
        found = {
            "base_apt_mirror": self.mirror[0],
            "base_apt_security_mirror": self.security_mirror[0],
        }
        if self.keyring != _DEBIAN_KEYRING:  # every Debian machine has that one
            found["base_apt_keyring"] = str(self.keyring)
        return found


_VAULT_IDENTITY = re.compile(r"([A-Za-z0-9_.-]+@)?/[^,\x00-\x1f]+")


class AnsibleConfig(Section):
    """How roles are applied."""

    vault_identities: _Texts = Field(
        (),
        description="files with the passwords of Ansible Vault, or programs that print them, as "
        "FILE or ID@FILE",
    )

    @field_validator("vault_identities")
    @classmethod
    def _identities(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for identity in value:
            if not _VAULT_IDENTITY.fullmatch(identity):
                raise ValueError(f"{identity!r} is not an absolute path, or ID@ and one")
        return value


class TrashConfig(Section):
    """The trash: VMs that were destroyed or replaced and can be recovered."""

    days: int = Field(
        14, ge=1, le=3650, description="days until what is in the trash may be deleted for good"
    )


class HooksConfig(Section):
    """Programs to notify about rollouts."""

    command: _Texts = Field((), description="command to run, as a list of arguments; it gets JSON")
    webhook: SecretStr | None = Field(
        None, description="URL to post JSON to; never shown, because it may be a secret"
    )
    webhook_token_file: OptionalPath = Field(
        None, description="file with the token for `Authorization: Bearer`; https only"
    )

    @field_validator("command")
    @classmethod
    def _command(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (value and not value[0]) or any("\0" in argument for argument in value):
            raise ValueError('not a command; write it as ["/usr/local/bin/notify", "--from", "me"]')
        return value

    @field_validator("webhook")
    @classmethod
    def _webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_url(value.get_secret_value())
        return value

    @field_validator("webhook_token_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value)


class IrcConfig(Section):
    """The IRC channel to notify about rollouts."""

    server: str | None = Field(
        None, pattern=r"^[A-Za-z0-9.:-]{1,253}$",
        description="IRC server, by name or address; unset: IRC is not used",
    )  # fmt: skip
    port: int = Field(6697, ge=1, le=65535, description="its TCP port")
    tls: bool = Field(
        default=True, description="use TLS; the server's certificate is always verified"
    )
    ca_file: OptionalPath = Field(None, description="CA certificates to trust; unset: the host's")
    nick: str = Field(
        "devvm", pattern=r"^[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,29}$",
        description="devvm's nick; if it is taken, `_` is appended",
    )  # fmt: skip
    channel: str = Field(
        "#devvm", pattern=r"^[#&+][^\s,:\x00-\x1f]{1,49}$", description="channel to post to"
    )
    password_file: OptionalPath = Field(
        None, description="file with the server's password; TLS only"
    )

    @field_validator("ca_file", "password_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value)


class RolloutConfig(Section):
    """How releases are rolled out, and who is notified."""

    quiet_hours: _Texts = Field(
        (), description="hours in which no VM is changed, in the host's local time"
    )
    quiet_hours_of: dict[str, _Texts] = Field(
        {}, description="quiet hours by VM name, instead of those for all VMs"
    )
    canaries: _Texts = Field((), description="VMs that go first in every rollout")
    ask_minutes: int = Field(10, ge=0, le=1440, description="minutes active users have to respond")
    active_minutes: int = Field(
        15,
        ge=1,
        le=1440,
        description="minutes after their last keystroke that a user still counts as active",
    )
    hooks: HooksConfig = HooksConfig()
    irc: IrcConfig = IrcConfig()

    @field_validator("quiet_hours")
    @classmethod
    def _quiet(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        quiet.check([quiet.parse(hours) for hours in value])
        return value

    @field_validator("quiet_hours_of")
    @classmethod
    def _quiet_of(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, all_hours in value.items():
            try:
                quiet.check([quiet.parse(hours) for hours in all_hours])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value


class Config(Section):
    """All of devvm's settings."""

    uri: str = Field("qemu:///system", description="connection URI of the libvirt host")
    state_dir: Annotated[Path, Field(strict=False)] = Field(
        Path("/var/lib/devvm"),
        description="folder for devvm's state on the host: boxes, CA, journals, logs",
    )
    pool: str = Field(
        "devvm", pattern=r"^[a-z][a-z0-9-]{0,14}$", description="name of the libvirt storage pool"
    )
    pool_path: Annotated[Path, Field(strict=False)] = Field(
        Path("/var/lib/libvirt/images/devvm"),
        description="folder where the pool stores its volumes",
    )
    stack_dir: OptionalPath = Field(
        None,
        description="folder of the stack: stack.yml, playbooks/, roles/ ...; unset: the reference "
        "stack",
    )
    production_dir: OptionalPath = Field(
        None,
        description="folder that describes production: manifest.yml, overlay/, roles.yml, "
        "waivers.yml; unset: the stack's",
    )
    vm: VmConfig = VmConfig()
    network: NetworkConfig = NetworkConfig()
    box: BoxConfig = BoxConfig()
    ansible: AnsibleConfig = AnsibleConfig()
    engineer: EngineerConfig = EngineerConfig()
    git: GitConfig = GitConfig()
    ssh: SshConfig = SshConfig()
    trash: TrashConfig = TrashConfig()
    rollout: RolloutConfig = RolloutConfig()

    @field_validator("state_dir", "pool_path", "production_dir", "stack_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an invalid port
        known = False
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not a URL; write it as https://chat.example.test/hook")
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain a login; put a token into webhook_token_file")


def files() -> list[Path]:
    """The configuration files that exist, in order of precedence, last wins.

    Raises:
        UsageError: `DEVVM_CONFIG` names a file that doesn't exist.
    """
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    paths = [Path("/etc/devvm/config.toml"), home / "devvm" / "config.toml"]
    named = os.environ.get("DEVVM_CONFIG")
    if named:
        if not Path(named).is_file():
            raise UsageError(
                f"there is no configuration file {named}",
                details="the environment variable DEVVM_CONFIG names it",
                resolution="make it (an empty file will do), or: unset DEVVM_CONFIG",
            )
        paths.append(Path(named))
    return [p for p in paths if p.is_file()]


def load(
    overrides: Mapping[str, Mapping[str, Any]] | None = None, *, stack_dir: Path | None = None
) -> Config:
    """Load the configuration.

    Args:
        overrides: Values of command-line options by section: `{"vm": {"cpus": 4}}`. Those that
            are None are ignored.
        stack_dir: The folder of the stack, if it isn't the configured one.

    Raises:
        UsageError: a file is not TOML, or has an invalid key or value. The error names both.
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
        _validate(data, str(path))  # each file separately, so that the error can name it
        merged = _merge(merged, data)
    given: dict[str, Any] = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in (overrides or {}).items()
    }
    if stack_dir is not None:
        given["stack_dir"] = stack_dir
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
            wrong = "unknown key"
            reason = f"unknown key; the keys of this section are: {_known_keys(first['loc'])}"
        else:
            wrong = "bad value"
            ours = first["type"] == "value_error"  # raised by a validator above
            reason = str(first["ctx"]["error"]) if ours else first["msg"]
            if key not in _NEVER_SHOWN:
                reason += f" (it is {first['input']!r})"
        raise UsageError(
            f"{source}: {key}: {wrong}",
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
