"""What VMs, their domains and their volumes are called."""

from __future__ import annotations

import secrets

from devvm.config import Config
from devvm.domain.disk import DATA, MEMORY, ROOT


def fqdn_of(config: Config, name: str) -> str:
    """A VM's full name: its DNS name, its domain's name, the prefix of its volumes' names."""
    return f"{name}.{config.network.domain}"


def name_of(config: Config, fqdn: str) -> str | None:
    """The VM whose domain, saved state or volume has this name; None if it isn't ours."""
    name, _, rest = fqdn.partition(".")
    domain = config.network.domain
    end = rest.removeprefix(domain)
    ours = rest.startswith(domain) and (end in ("", ".img") or end.startswith(("-", "@")))
    return name if ours else None


def url_of(config: Config, name: str) -> str:
    """The URL of a VM's site."""
    return f"https://{fqdn_of(config, name)}/"


def new_token() -> str:
    """A token for the names of all that an operation creates, so that undoing it finds all."""
    return secrets.token_hex(4)


def volume_of(fqdn: str, role: str, token: str) -> str:
    """The name of a volume that an operation creates for one of a VM's disks, or its memory."""
    part = {ROOT: "root", DATA: "data"}.get(role, role)
    form = "save" if role == MEMORY else "qcow2"
    return f"{fqdn}-{part}.{token}.{form}"


def first_root_of(fqdn: str) -> str:
    """The name that vagrant-libvirt gives to the root that it creates."""
    return f"{fqdn}.img"


def kept_of(fqdn: str, identifier: str) -> str:
    """The name of the domain of a VM's saved state."""
    return f"{fqdn}@{identifier}"


def role_of(fqdn: str, volume: str) -> str:
    """The role of the disk that a volume belongs to; the inverse of `volume_of`."""
    if volume == first_root_of(fqdn):
        return ROOT
    part = volume.removeprefix(f"{fqdn}-").partition(".")[0]
    return {"root": ROOT, "data": DATA}.get(part, part)
