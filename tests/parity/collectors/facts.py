"""What kind of machine this is: decides which expectations apply."""

import os
import socket


def collect(wanted, run):
    """Host name, and the conditions that expectations name in `only_if` and `unless`."""
    code, out, _ = run(["systemd-detect-virt", "--container"])
    return {
        "fqdn": socket.getfqdn(),
        "conditions": {
            "container": code == 0 and out.strip() != "none",
            "data_disk": os.path.exists("/dev/disk/by-id/virtio-devvm-data"),
            "identity": os.path.exists("/data/identity/site.crt"),
            "engineer": os.path.exists("/etc/sudoers.d/engineer"),
        },
    }
