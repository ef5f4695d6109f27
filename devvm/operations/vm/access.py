"""`ssh`, `exec`, `console`, `logs`: into a VM, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.vm import Target
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh as way_in
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services


def ssh(services: Services, name: str, argv: Sequence[str] = ()) -> int:
    """A shell in the VM on this terminal, or a command in it; exits with its code.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it does not run.
    """
    return services.shell.interactive(_session(Machine(services, name)), argv)


def run_command(services: Services, name: str, argv: Sequence[str]) -> int:
    """One command in the VM, with this process's input and output; exits with its code.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it does not run.
    """
    return services.shell.interactive(_session(Machine(services, name)), argv)


def console(services: Services, name: str) -> int:
    """The VM's serial console on this terminal, until the person leaves it with Ctrl-].

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it does not run.
    """
    return services.domains.console(lifecycle.running(Machine(services, name)).fqdn)


def logs(services: Services, name: str, unit: str | None, lines: int) -> str:
    """The last lines of the VM's journal, or of one systemd unit's.

    Raises:
        NotFoundError: there is no such VM.
        OperationError: it does not run.
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
    # A create that failed and was kept may have no engineer's account yet.
    ready = vm.metadata is not None and vm.metadata.ready
    return way_in.target(machine, login="engineer" if ready else "vagrant")
