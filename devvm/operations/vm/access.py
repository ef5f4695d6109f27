"""`ssh`, `exec`, `console`, `logs`: get into a VM, and read its logs."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.vm import Target
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh as way_in
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


def session(
    services: Services, name: str, argv: Sequence[str] = (), *, forward_agent: bool = False
) -> int:
    """Open a shell or run a command in the VM, with this process's input and output.

    Args:
        services: The adapters to use.
        name: The VM's name.
        argv: The command; a shell if it is empty.
        forward_agent: Whether it may use the person's SSH agent.

    Returns:
        Its exit code.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it is not running.
    """
    target = _target(Machine(services, name))
    return services.shell.interactive(target, argv, forward_agent=forward_agent)


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


def _target(machine: Machine) -> Target:
    vm = lifecycle.running(machine)
    # A VM kept from a failed create may not have the engineer's account.
    ready = vm.metadata is not None and vm.metadata.ready
    return way_in.target(machine, login="engineer" if ready else "vagrant")
