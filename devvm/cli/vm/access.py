"""`ssh`, `exec`, `console`, `logs`, `pages`: get into a VM, and see what is in it."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from devvm.cli import options, panels
from devvm.cli.session import Session
from devvm.domain.errors import UsageError

_ForwardAgent = Annotated[
    bool | None,
    typer.Option(
        "--forward-agent/--no-forward-agent", "-A", show_default=False,
        help="Let the VM use your SSH agent meanwhile; defaults to the setting ssh.forward_agent.",
    ),
]  # fmt: skip

_PASS_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command = partial(app.command, rich_help_panel=panels.INSIDE)
    command(epilog="Example:  devvm ssh dev1", context_settings=_PASS_ON)(ssh)
    command(
        "exec",
        epilog="Example:  devvm exec dev1 -- systemctl status nginx",
        context_settings=_PASS_ON,
    )(run_command)
    command(epilog="Example:  devvm console dev1")(console)
    command(epilog="Example:  devvm pages dev1")(pages)
    command(epilog="Example:  devvm logs dev1 --follow --unit nginx")(logs)


def ssh(
    context: typer.Context,
    name: options.Name = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...", show_default=False, help="Command to run instead of a shell."
        ),
    ] = None,
    forward_agent: _ForwardAgent = None,
) -> None:
    """Open a shell in a VM, as its engineer. Exits with the shell's exit code.

    Options go before NAME.
    """
    session = Session.of(context)
    raise typer.Exit(_run(session, session.vm_name(name), arguments or [], forward_agent))


def run_command(
    context: typer.Context,
    name: options.RequiredName,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND...", show_default=False, help="Command to run, after --."),
    ],
    forward_agent: _ForwardAgent = None,
) -> None:
    """Run one command in a VM, without a terminal. Exits with its exit code.

    Options go before NAME.
    """
    session = Session.of(context)
    raise typer.Exit(_run(session, session.vm_name(name), command, forward_agent))


def _run(session: Session, name: str, argv: list[str], forward_agent: bool | None) -> int:
    from devvm.operations.vm import access

    services = session.services()
    if forward_agent and not os.environ.get("SSH_AUTH_SOCK"):
        raise UsageError(
            "there is no SSH agent to forward",
            details="SSH_AUTH_SOCK is not set; sudo removes it",
            resolution='eval "$(ssh-agent)"; ssh-add',
        )
    if forward_agent is None:
        forward_agent = services.config.ssh.forward_agent
    return access.session(services, name, _without_dashes(argv), forward_agent=forward_agent)


def _without_dashes(arguments: list[str]) -> list[str]:
    """The arguments for the other program, without a leading `--`."""
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def console(context: typer.Context, name: options.Name = None) -> None:
    """Open a VM's serial console, for when SSH doesn't work. Press Ctrl-] to leave."""
    from devvm.operations.vm import access

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    session.output.note(f"Console of {vm_name}. Press Ctrl-] to leave.", style="dim")
    raise typer.Exit(access.console(services, vm_name))


def logs(
    context: typer.Context,
    name: options.Name = None,
    units: Annotated[
        list[str] | None,
        typer.Option("--unit", "-u", metavar="UNIT", show_default=False,
                     help="Show only this systemd unit, such as nginx; repeatable."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", show_default=False,
                     help="Show lines since then: '2026-11-23 14:00', today, '10 min ago'."),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=1, max=100_000, metavar="N", show_default=False,
                     help="Number of lines to show first; 100 by default, all with --since."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with new lines. Press Ctrl-C to end."),
    ] = False,
) -> None:  # fmt: skip
    """Show the last lines of a VM's journal: of all its services, and the kernel."""
    from devvm.operations.vm import access

    session = Session.of(context)
    vm_name = session.vm_name(name)
    wanted = access.Wanted(units=tuple(units or ()), since=since, lines=lines)
    if follow:
        raise typer.Exit(access.follow(session.services(), vm_name, wanted))
    session.output.write(access.logs(session.services(), vm_name, wanted))


def pages(
    context: typer.Context,
    name: options.Name = None,
    port: Annotated[
        int, typer.Option("--port", min=1024, max=65534, metavar="PORT",
                          help="Port of this host's loopback to show them under.")
    ] = 8024,
) -> None:  # fmt: skip
    """Show a VM's pages in your browser: what is in it, and the mails that it sent.

    Prints their address, which has a key and works until you press Ctrl-C.
    """
    from devvm.operations.vm import access

    session = Session.of(context)
    vm_name = session.vm_name(name)

    def tell(address: str) -> None:
        session.output.line(address)
        session.output.note("Open this in your browser. Press Ctrl-C to end.", style="dim")

    raise typer.Exit(access.pages(session.services(), vm_name, port, tell))
