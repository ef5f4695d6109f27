"""Production's hosts, accessed through testinfra by SSH names or an Ansible inventory.

Each inspection is a child process (`python -m devvm.parity observe`), so that devvm can give up on
a host that hangs, and a host's output can't affect devvm.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import devvm
from devvm.domain.errors import OperationError, UsageError
from devvm.parity.collect.capture import Seen
from devvm.parity.differences.compare import Tokens
from devvm.system import process

#: A name or an address, perhaps with `user@`; nothing that ssh could take for an option.
_HOST = re.compile(r"([A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_\[][\w.:\]-]*")
#: Seconds that connecting to a host may take.
_CONNECT = 20


class SshHosts:
    """Implements `ProductionHosts`.

    Args:
        checks: The folder of the stack's checks, which name more paths and programs to look at.
        overlay: The kind of machine to inspect them as: `none` for production.
        ssh_config: An OpenSSH configuration file; None for the user's own.
        inventory: An Ansible inventory that says how to reach hosts; None to use SSH names.
    """

    def __init__(
        self,
        *,
        checks: Path,
        overlay: str = "none",
        ssh_config: Path | None = None,
        inventory: Path | None = None,
    ) -> None:
        self._checks = checks
        self._overlay = overlay
        self._ssh_config = ssh_config
        self._inventory = inventory

    def names(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """The hosts that the patterns select, in the given order, without duplicates.

        Raises:
            UsageError: a pattern can't be a host, or the inventory has no such host or group.
        """
        for pattern in patterns:
            if not _HOST.fullmatch(pattern):
                raise UsageError(
                    f"{pattern!r} can't be a host",
                    details="a host is a name or USER@NAME; ports and keys belong in ~/.ssh/config",
                    resolution="devvm production capture --host web1",
                )
        if self._inventory is None:
            return tuple(dict.fromkeys(patterns))
        argv = self._python("hosts", f"--inventory={self._inventory}", *patterns)
        try:
            found = process.run(argv, env=self._environment(), timeout=60).stdout.split()
        except process.ProcessError as error:
            raise UsageError(
                f"the inventory {self._inventory} can't be used",
                details=(error.details or "").splitlines()[-1],
                resolution=f"ansible-inventory -i {self._inventory} --list",
            ) from None
        return tuple(dict.fromkeys(found))

    def look(self, host: str, *, timeout: float) -> Seen:
        """Run all collectors on one host, over one SSH connection.

        Raises:
            OperationError: the host can't be reached, doesn't give us root or doesn't answer in
                time, or something could not be read.
        """
        if self._inventory:
            spec = f"ansible://{host}?ansible_inventory={self._inventory}"
        else:
            spec = f"ssh://{host}?controlpersist=0&timeout={_CONNECT}"
        argv = self._python(
            "observe", f"--overlay={self._overlay}", f"--expectations={self._checks}",
            f"--host={spec}",
        )  # fmt: skip
        argv += [f"--ssh-config={self._ssh_config}"] if self._ssh_config else []
        try:
            done = process.run(argv, env=self._environment(), timeout=timeout, check=False)
        except process.ProcessError:
            raise self._failed(host, f"no answer within {timeout:.0f} s") from None
        if done.returncode:
            reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise self._failed(host, reason[-1])
        found = json.loads(done.stdout)
        if found["errors"]:
            reasons = [f"{what} {why}" for what, why in sorted(found["errors"].items())]
            raise self._failed(host, f"some of it could not be read: {'; '.join(reasons)}")
        tokens = Tokens(host=found["host"], engineer=found["engineer"])
        return Seen(host=host, areas=found["areas"], tokens=tokens, conditions=found["conditions"])

    def _failed(self, host: str, reason: str) -> OperationError:
        config = f"-F {self._ssh_config} " if self._ssh_config else ""
        return OperationError(
            f"{host} could not be inspected",
            details=reason,
            resolution=f"ssh {config}{host} sudo -n python3 --version",
        )

    def _python(self, *arguments: str) -> list[str]:
        return [sys.executable, "-B", "-m", "devvm.parity", *arguments]

    def _environment(self) -> dict[str, str]:
        """Variables that let Python find devvm, and testinfra find ansible-inventory."""
        path = process.environment()["PATH"]
        return {
            "PYTHONPATH": str(Path(devvm.__file__).parent.parent),
            "PATH": f"{Path(sys.executable).parent}:{path}",
        }
