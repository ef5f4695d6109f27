"""The rights of `/dev/kvm`, on a host where no udev sets them.

libvirt runs QEMU as a user of its own, in the group `kvm`. Where that user can't open the device,
libvirt distrusts what it remembers of QEMU and asks QEMU again at every call: listing what the
host can do took 8 to 28 s instead of 0.06 s (measured with libvirt 9.0), which made a `create`
four times slower, even for a guest that does not use KVM at all.
"""

from __future__ import annotations

import grp
import stat
from collections.abc import Callable
from pathlib import Path

from devvm.system import process

# As systemd's udev rules have it (50-udev-default.rules): root:kvm, mode 0660.
_GROUP = "kvm"
_MODE = 0o660


class KvmDevice:
    """`/dev/kvm` may be opened by the group `kvm`; nothing to do where there is no such device."""

    key = "kvm"
    title = "Giving libvirt access to /dev/kvm"
    optional = False
    builds_only = True

    def __init__(self, device: Path = Path("/dev/kvm")) -> None:
        self._device = device

    def missing(self) -> list[str]:
        """Whether its group and mode have to be set."""
        try:
            status = self._device.stat()
        except FileNotFoundError:
            return []
        group_may = stat.S_IMODE(status.st_mode) & 0o060 == 0o060
        if group_may and status.st_gid == _gid():
            return []
        return [f"give {self._device} to the group {_GROUP}, as udev would"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Set group and mode; the device is made anew, without them, at each boot.

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
