"""Save the guest's journal when an operation on a VM fails and is about to be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devvm.domain.errors import DevvmError
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh

_LINES = 300
#: Messages of services and the kernel, without those of devvm's own logins and tasks.
_FACILITIES = "kern,daemon,syslog"


@contextmanager
def kept_on_failure(machine: Machine, run: Run) -> Iterator[None]:
    """If the block fails and the VM still responds, append the end of its journal to the log."""
    try:
        yield
    except DevvmError as error:
        with suppress(DevvmError, OSError):
            _append(machine, error.log or run.log(machine.services.state))
        raise


def _append(machine: Machine, log: Path) -> None:
    target = ssh.target(machine, login="vagrant")
    command = ["sudo", "journalctl", "--boot", "--no-pager"]
    command += [f"--facility={_FACILITIES}", f"--lines={_LINES}"]
    _, out, _ = machine.services.shell.run(target, command, timeout=60)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\nThe last lines of the journal of {machine}:\n{out}")
