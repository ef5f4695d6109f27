"""`ssh`, `exec`, `console`, `logs`: get into a VM, and read its logs."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.vm import Target
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh as way_in
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


def ssh(services: Services, name: str, argv: Sequence[str] = ()) -> int:
    """Open a shell or run a command in the VM, on this terminal; return its exit code.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running.
    """
    return services.shell.interactive(_session(Machine(services, name)), argv)


def run_command(services: Services, name: str, argv: Sequence[str]) -> int:
    """Run a command in the VM, with this process's input and output; return its exit code.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running.
    """
    return services.shell.interactive(_session(Machine(services, name)), argv)


def console(services: Services, name: str) -> int:
    """Open the VM's serial console on this terminal, until the person presses Ctrl-].

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running.
    """
    return services.domains.console(lifecycle.running(Machine(services, name)).fqdn)


def logs(services: Services, name: str, unit: str | None, lines: int) -> str:
    """The last lines of the VM's journal, or of one systemd unit's.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running.
    """
    machine = Machine(services, name)
    lifecycle.running(machine)
    target = way_in.target(machine, login="vagrant")
    chosen = [f"--unit={unit}"] if unit else []
    command = ["sudo", "journalctl", "--no-pager", f"--lines={lines}", *chosen]
    _, out, _ = services.shell.run(target, command)
    return out


def _session(machine: Machine) -> Target:
    vm = lifecycle.running(machine)
    # A VM kept from a failed create may not have the engineer's account.
    ready = vm.metadata is not None and vm.metadata.ready
    return way_in.target(machine, login="engineer" if ready else "vagrant")
