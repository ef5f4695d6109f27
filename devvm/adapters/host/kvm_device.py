"""The permissions of `/dev/kvm`, on hosts where udev doesn't set them.

libvirt runs QEMU as a separate user in the group `kvm`. If that user can't open the device,
libvirt distrusts its cached capabilities and probes QEMU again on each call: listing the host's
capabilities took 8 to 28 s instead of 0.06 s (measured with libvirt 9.0), which made `create` four
times slower, even for a guest that doesn't use KVM at all.
"""

from __future__ import annotations

import grp
import stat
from collections.abc import Callable
from pathlib import Path

from devvm.system import process

# As in systemd's udev rules (50-udev-default.rules): root:kvm, mode 0660.
_GROUP = "kvm"
_MODE = 0o660


class KvmDevice:
    """Lets the group `kvm` open `/dev/kvm`, if the device exists."""

    key = "kvm"
    title = "Giving libvirt access to /dev/kvm"
    optional = False
    needed_only_to_create = True

    def __init__(self, device: Path = Path("/dev/kvm")) -> None:
        self._device = device

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        try:
            status = self._device.stat()
        except FileNotFoundError:
            return []
        group_may = stat.S_IMODE(status.st_mode) & 0o060 == 0o060
        if group_may and status.st_gid == _gid():
            return []
        return [f"give {self._device} to the group {_GROUP}, as udev would"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Set group and mode. They are lost at each boot, when the device is created again.

        Raises:
            ProcessError: they can't be set.
        """
        detail(str(self._device))
        process.run(["groupadd", "--system", "--force", _GROUP], log=log, sudo=True)
        process.run(["chgrp", _GROUP, self._device], log=log, sudo=True)
        process.run(["chmod", f"{_MODE:o}", self._device], log=log, sudo=True)


def _gid() -> int | None:
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None
