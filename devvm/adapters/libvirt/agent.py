"""Commands to a running guest's agent, which may be missing or not answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import libvirt
import libvirt_qemu

from devvm.adapters.libvirt.connection import translated
from devvm.domain.errors import OperationError

#: Seconds; an emulated guest's agent is slow.
_TIMEOUT = 20
#: Seconds; a guest that was just restored answers one of a few.
_PING_TIMEOUT = 2
#: Seconds in which the agent of a guest that was just started or restored must answer.
_START = 90
#: Seconds between two looks at a program that runs; the guest logs each.
_POLL = 0.3


def run(
    domain: libvirt.virDomain, argv: Sequence[str], *, timeout: float, stdin: str
) -> tuple[int, str]:
    """Run a program; return its exit code, and what it wrote to standard error.

    Waits for the agent: that of a guest that was just restored answers a moment later.

    Raises:
        OperationError: the agent doesn't answer, or the program doesn't end within `timeout`
            seconds.
    """
    program, *arguments = argv
    deadline = time.monotonic() + timeout
    answers = min(deadline, time.monotonic() + _START)
    while _ask(domain, "guest-ping", {}, timeout=_PING_TIMEOUT) is None:
        _wait(domain, answers, f"answer, to run {program}")
    with translated(f"{program} can't be run in {domain.name()}"):
        given = {
            "path": program,
            "arg": arguments,
            "input-data": base64.b64encode(stdin.encode()).decode(),
            "capture-output": True,
        }
        begun = _demand(domain, "guest-exec", given)
    while True:
        status = _ask(domain, "guest-exec-status", {"pid": begun["pid"]})
        if status is not None and status["exited"]:
            said = base64.b64decode(status.get("err-data", "")).decode("utf-8", "replace")
            # Without an exit code, a signal ended it.
            return status.get("exitcode", -int(status.get("signal", 1))), said
        _wait(domain, deadline, f"see the end of {program}")


def _wait(domain: libvirt.virDomain, deadline: float, what: str) -> None:
    if time.monotonic() > deadline or not _runs(domain):
        raise OperationError(f"the guest agent of {domain.name()} did not {what} in time")
    time.sleep(_POLL)


def _runs(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError:
        return False


def read_file(domain: libvirt.virDomain, path: str) -> str | None:
    """Read a small text file in the guest; None if there is no such file, or no answer."""
    opened = _ask(domain, "guest-file-open", {"path": path, "mode": "r"})
    if opened is None:
        return None
    read = _ask(domain, "guest-file-read", {"handle": opened, "count": 65536})
    _ask(domain, "guest-file-close", {"handle": opened})
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


def _ask(
    domain: libvirt.virDomain,
    command: str,
    arguments: Mapping[str, object],
    *,
    timeout: int = _TIMEOUT,
) -> Any:  # noqa: ANN401 - JSON
    try:
        return _demand(domain, command, arguments, timeout=timeout)
    except libvirt.libvirtError:
        return None


def _demand(
    domain: libvirt.virDomain,
    command: str,
    arguments: Mapping[str, object],
    *,
    timeout: int = _TIMEOUT,
) -> Any:  # noqa: ANN401 - JSON
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, timeout, 0))["return"]
