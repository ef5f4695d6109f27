"""libvirt's daemons: checks whether they answer and starts them, with or without systemd."""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

from devvm.domain.errors import HostNotReadyError
from devvm.system import process

_RUN = Path("/run/libvirt")
_SYSTEMD = Path("/run/systemd/system")
_CONFIG = Path("/etc/libvirt/libvirtd.conf")

#: Debian's libvirt asks polkit by default who may use it, but a host without systemd rarely runs
#: polkit. So the socket's group decides instead, which is what polkit's rule says too.
_WITHOUT_POLKIT = {
    "unix_sock_group": "libvirt",
    "unix_sock_rw_perms": "0770",
    "auth_unix_rw": "none",
}


class LibvirtDaemons:
    """`virtlogd` and `libvirtd`."""

    key = "daemons"
    title = "Starting libvirt"
    optional = False
    needed_only_to_create = False

    def __init__(self, run: Path = _RUN, systemd: Path = _SYSTEMD) -> None:
        self._run = run
        self._systemd = systemd

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        down = [name for name in ("virtlogd", "libvirtd") if not self._answers(name)]
        if not down:
            return []
        how = ", now and at boot" if self._systemd.is_dir() else ""
        return [f"start {' and '.join(down)}{how}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Start them and wait until they answer.

        Raises:
            HostNotReadyError: a daemon doesn't answer within 20 seconds.
            ProcessError: a daemon can't be started.
        """
        for name in ("virtlogd", "libvirtd"):
            if self._answers(name):
                continue
            detail(name)
            if self._systemd.is_dir():
                units = [f"{name}.socket"] + ([f"{name}.service"] if name == "libvirtd" else [])
                process.run(["systemctl", "enable", "--now", *units], log=log, sudo=True)
            elif name == "libvirtd":
                process.run([name, "-d", "--config", self._write_config()], log=log, sudo=True)
            else:
                process.run([name, "-d"], log=log, sudo=True)
            self._wait(name, log)

    def _answers(self, name: str) -> bool:
        # A socket that refuses connections was left by a dead daemon. If we have no permission, we
        # can't tell: only root can connect to virtlogd, and only the group libvirt to libvirtd.
        path = self._run / ("libvirt-sock" if name == "libvirtd" else f"{name}-sock")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            try:
                connection.connect(str(path))
            except OSError as error:
                return error.errno == errno.EACCES
        return True

    def _wait(self, name: str, log: Path) -> None:
        deadline = time.monotonic() + 20
        while not self._answers(name):
            if time.monotonic() > deadline:
                raise HostNotReadyError(
                    f"{name} was started but does not answer",
                    details="its logs: /var/log/libvirt, or journalctl -u " + name,
                    resolution="devvm setup",
                    log=log,
                )
            time.sleep(0.2)

    def _write_config(self) -> Path:
        present = _CONFIG.read_text(encoding="utf-8") if _CONFIG.is_file() else ""
        path = self._run / "devvm-libvirtd.conf"
        process.run(["mkdir", "-p", self._run], sudo=True)
        process.run(["tee", path], stdin=_config(present), sudo=True)
        return path


def _config(present: str) -> str:
    """The host's own configuration, with our settings added where it has none."""
    lines = [present.rstrip("\n")]
    lines += [
        f'{key} = "{value}"'
        for key, value in _WITHOUT_POLKIT.items()
        if not re.search(rf"^\s*{key}\s*=", present, re.MULTILINE)
    ]
    return "\n".join(lines).lstrip("\n") + "\n"
