"""What kind of machine this is: decides which expectations apply."""

import os
import re
import socket

_ENGINEER = "/etc/sudoers.d/engineer"


def probe(wanted, run):
    """Host name, the engineer's login, and the conditions that `only_if` and `unless` name."""
    code, out, _ = run(["systemd-detect-virt", "--container"])
    return {
        "fqdn": socket.getfqdn(),
        "engineer": _engineer(),
        "conditions": {
            "container": code == 0 and out.strip() != "none",
            "data_disk": os.path.exists("/dev/disk/by-id/virtio-devvm-data"),
            "identity": os.path.exists("/data/identity/site.crt"),
            "engineer": os.path.exists(_ENGINEER),
        },
    }


def _engineer():
    """Whose the machine is: the account that the dev overlay lets use sudo."""
    try:
        with open(_ENGINEER) as file:
            match = re.search(r"^([a-z_][\w-]*)\s+ALL", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""
