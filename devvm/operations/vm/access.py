"""`ssh`, `exec`, `console`, `logs`: get into a VM, and read its logs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devvm.domain.errors import ExitCode, OperationError, UsageError
from devvm.domain.vm import Target
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh as way_in
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services

#: Lines of the journal, unless the person wants another number.
_LINES = 100
#: Exit codes after Ctrl-C: of journalctl on a terminal, of ssh without one.
_INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)
#: Of the role `vm_pages`.
_PAGES, _PAGES_AT = "devvm-pages.service", "/run/devvm-pages"
#: systemctl's exit code if there is no such unit.
_NO_UNIT = 5
#: OpenSSH's own exit code.
_LOST = 255
#: Runs a command in the guest. At a terminal, Ctrl-C ends it there, and ssh would say `_LOST`.
_UNTIL_CTRL_C = 'trap "exit 130" INT; "$@"'


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lines of a VM's journal to show.

    Attributes:
        units: systemd units, without `.service`; none: all, and the kernel.
        since: The time of the first line, as systemd.time(7) writes times.
        lines: How many of the latest; None: all with `since`, else 100.
    """

    units: tuple[str, ...] = ()
    since: str | None = None
    lines: int | None = None


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


def logs(services: Services, name: str, wanted: Wanted) -> str:
    """Lines of the VM's journal.

    Raises:
        NotFoundError: there is no such VM.
        UsageError: `since` is not a time.
        OperationError: it is not running.
    """
    _, out, _ = services.shell.run(*_journalctl(services, name, wanted))
    return out


def follow(services: Services, name: str, wanted: Wanted) -> int:
    """Show lines of the VM's journal on this terminal, and new ones, until the person stops it.

    Returns:
        The exit code of journalctl in the VM; 130 after Ctrl-C.

    Raises:
        NotFoundError: there is no such VM.
        UsageError: `since` is not a time.
        OperationError: it is not running, or stops meanwhile.
    """
    target, argv = _journalctl(services, name, wanted)
    code = services.shell.interactive(target, ["sh", "-c", _UNTIL_CTRL_C, "sh", *argv, "--follow"])
    if code in _INTERRUPTED:
        return ExitCode.INTERRUPTED
    if code == _LOST:
        lifecycle.running(Machine(services, name))
        raise OperationError(
            f"{name} has closed the connection",
            details="it is being shut down or restarted, or its network is down",
            resolution=f"devvm logs {name} --follow",
        )
    return code


def pages(services: Services, name: str, port: int, tell: Callable[[str], None]) -> int:
    """Show the VM's pages under an address of this host, until the person stops it.

    Args:
        services: The adapters to use.
        name: The VM.
        port: A port of this host's loopback.
        tell: Is given the address; whoever has it may see the pages.

    Returns:
        130, after Ctrl-C.

    Raises:
        NotFoundError: there is no such VM.
        UsageError: its stack doesn't switch pages on.
        OperationError: it is not running, the port is in use, or the connection is lost.
    """
    machine = Machine(services, name)
    lifecycle.running(machine)
    target = way_in.target(machine, login="vagrant")
    started, _, why = services.shell.run(
        target, ["sudo", "systemctl", "start", _PAGES], check=False
    )
    if started == _NO_UNIT:
        raise UsageError(
            f"{name} has no pages",
            details="its stack doesn't switch them on",
            resolution="add `features: [pages]` to stack.yml: docs/stacks.md",
        )
    if started:
        raise OperationError(
            f"the pages of {name} don't start",
            details=why.strip(),
            resolution=f"devvm logs {name} --unit {_PAGES}",
        )
    _, key, _ = services.shell.run(target, ["sudo", "cat", f"{_PAGES_AT}/key"])
    tell(f"http://127.0.0.1:{port}/?key={key.strip()}")
    code = services.shell.forward(target, port, f"{_PAGES_AT}/http")
    if code in _INTERRUPTED:
        return ExitCode.INTERRUPTED
    raise OperationError(
        f"the pages of {name} can't be shown under port {port}, or the connection was lost",
        resolution=f"devvm pages {name} --port {port + 1}",
    )


def _journalctl(services: Services, name: str, wanted: Wanted) -> tuple[Target, list[str]]:
    machine = Machine(services, name)
    lifecycle.running(machine)
    target = way_in.target(machine, login="vagrant")
    argv = ["sudo", "journalctl", "--no-pager", "--output=short-iso"]
    lines = wanted.lines or ("all" if wanted.since else _LINES)
    argv += [f"--lines={lines}", *(f"--unit={unit}" for unit in wanted.units)]
    if wanted.since:
        command = ["systemd-analyze", "timestamp", "--", wanted.since]
        code, _, _ = services.shell.run(target, command, check=False)
        if code:
            raise UsageError(
                f"--since: {wanted.since!r} is not a time",
                resolution="use, for example, --since '2026-11-23 14:00', --since today or "
                "--since '10 min ago'",
            )
        argv.append(f"--since={wanted.since}")
    return target, argv


def _target(machine: Machine) -> Target:
    vm = lifecycle.running(machine)
    # A VM kept from a failed create may not have the engineer's account.
    ready = vm.metadata is not None and vm.metadata.ready
    return way_in.target(machine, login="engineer" if ready else "vagrant")
