"""What kind of machine this is, which decides which expectations apply."""

from __future__ import annotations

import os
import re
import socket

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Answers, Run, Wanted

_ENGINEER = "/etc/sudoers.d/engineer"


def probe(wanted: Wanted, run: Run) -> Answers:
    """The host name, the engineer's login, and the conditions for `only_if` and `unless`."""
    return {
        "fqdn": socket.getfqdn(),
        "engineer": _engineer(),
        "conditions": {
            "container": common.is_container(run),
            "data_disk": os.path.exists("/dev/disk/by-id/virtio-devvm-data"),
            "identity": os.path.exists("/data/identity/site.crt"),
            "engineer": os.path.exists(_ENGINEER),
        },
    }


def _engineer() -> str:
    """The engineer's login: the account that the dev overlay gives sudo; "" if there is none."""
    try:
        with open(_ENGINEER) as file:
            match = re.search(r"^([a-z_][\w-]*)\s+ALL", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""
