"""The systemd timer that fills the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from devvm.system import process

_SYSTEMD = Path("/run/systemd/system")
_UNITS = Path("/etc/systemd/system")
_NAME = "devvm-pool"
_SERVICE = """\
# Written by `devvm pool set`.
[Unit]
Description=Fill devvm's pool of spare VMs

[Service]
Type=oneshot
User={login}
{environment}ExecStart={command}
Nice=10
"""
_TIMER = """\
# Written by `devvm pool set`.
[Unit]
Description=Fill devvm's pool of spare VMs

[Timer]
OnBootSec=5min
OnUnitInactiveSec=10min

[Install]
WantedBy=timers.target
"""


class PoolTimer:
    """`devvm-pool.timer`, and the service that it starts.

    Args:
        argv: What the service runs, with absolute paths.
        login: The account that it runs as.
        environment: Variables of the environment that it needs.
        units: Where an administrator's units are.
        systemd: Exists where systemd runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        login: str,
        environment: Mapping[str, str],
        *,
        units: Path = _UNITS,
        systemd: Path = _SYSTEMD,
    ) -> None:
        self._argv = argv
        self._login = login
        self._environment = environment
        self._units = units
        self._systemd = systemd

    def installed(self) -> bool:
        """Whether the timer is there, and does what it should."""
        files = self._files()
        return all(path.is_file() and path.read_text("utf-8") == files[path] for path in files)

    def there(self) -> bool:
        """Whether any of its units is there."""
        return any(path.exists() for path in self._files())

    def possible(self) -> bool:
        """Whether systemd runs here."""
        return self._systemd.is_dir()

    def install(self) -> None:
        """Write the units, and start the timer, now and at each boot.

        Raises:
            ProcessError: this user can't, and can't become root without a password.
        """
        for path, text in self._files().items():
            process.run(["install", "-m", "0644", "/dev/stdin", path], stdin=text, sudo=True)
        process.run(["systemctl", "daemon-reload"], sudo=True)
        process.run(["systemctl", "enable", "--now", f"{_NAME}.timer"], sudo=True)

    def remove(self) -> None:
        """Stop the timer and delete the units; a fill that is under way goes on.

        Raises:
            ProcessError: as `install`.
        """
        process.run(["systemctl", "disable", "--now", f"{_NAME}.timer"], check=False, sudo=True)
        process.run(["rm", "-f", *self._files()], sudo=True)
        process.run(["systemctl", "daemon-reload"], sudo=True)

    def _files(self) -> dict[Path, str]:
        environment = "".join(
            f"Environment={_quoted(f'{name}={value}')}\n"
            for name, value in sorted(self._environment.items())
        )
        service = _SERVICE.format(
            login=self._login, environment=environment,
            command=" ".join(_quoted(argument).replace("$", "$$") for argument in self._argv),
        )  # fmt: skip
        return {
            self._units / f"{_NAME}.service": service,
            self._units / f"{_NAME}.timer": _TIMER,
        }


def _quoted(text: str) -> str:
    """A word as systemd reads it (systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
