"""Commands to a running guest's agent, which may be missing or not answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import libvirt
import libvirt_qemu

#: Seconds; an emulated guest's agent is slow.
_TIMEOUT = 20


def read_file(domain: libvirt.virDomain, path: str) -> str | None:
    """Read a small text file in the guest; None if there is no such file, or no answer."""
    opened = _ask(domain, "guest-file-open", path=path, mode="r")
    if opened is None:
        return None
    read = _ask(domain, "guest-file-read", handle=opened, count=65536)
    _ask(domain, "guest-file-close", handle=opened)
    return base64.b64decode(read["buf-b64"]).decode() if read else None


def authorize_key(domain: libvirt.virDomain, login: str, public_key: str) -> bool:
    """Authorize a key for an account; False if that fails."""
    try:
        domain.authorizedSSHKeysSet(
            login, [public_key], libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
        )
    except libvirt.libvirtError:  # no agent, an old one, or no such account
        return False
    return True


def _ask(domain: libvirt.virDomain, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
    text = json.dumps({"execute": command, "arguments": arguments})
    try:
        return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, _TIMEOUT, 0))["return"]
    except libvirt.libvirtError:
        return None
