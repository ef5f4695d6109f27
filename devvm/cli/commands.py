"""The table of devvm's commands, each loaded when it is used.

`devvm --help` and completion need no more than the table, and a command needs only its own module:
to load them all takes longer than most commands do.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from devvm.cli import panels

#: Names of commands and groups by panel of `devvm --help`, each with its module and the first line
#: of its help.
TABLE = {
    panels.VM: {
        "create": ("vm.create", "Create a VM with the full stack, checked and ready to work in."),
        "list": ("vm.vms", "List the VMs on this host."),
        "show": ("vm.vms", "Show one VM in detail, with the timings of its last run."),
        "start": ("vm.vms", "Start a VM and wait until it is ready for SSH."),
        "stop": ("vm.vms", "Shut down a VM."),
        "restart": ("vm.vms", "Restart a VM: `stop`, then `start`."),
        "resize": (
            "vm.vms",
            "Enlarge a VM's data disk and its file system. A running VM keeps running.",
        ),
        "update": ("vm.update", "Update a VM to a release, in place if possible."),
        "rebuild": (
            "vm.rebuild",
            (
                "Replace a VM's system with a clean one; keep its name, address, host keys and "
                "data disk."
            ),
        ),
        "verify": (
            "vm.verify",
            "Compare a VM with production: packages, units, sockets, settings, files, the site.",
        ),
    },
    panels.SAFETY: {
        "clone": (
            "vm.snapshots",
            "Create a copy of a VM, with its own name, address and keys.",
        ),
        "destroy": (
            "vm.trash",
            "Move a VM with its disks to the trash; `devvm recover` brings it back.",
        ),
        "recover": ("vm.trash", "Bring a VM back from the trash, start it and check it."),
        "snapshot": ("vm.snapshots", "Take snapshots of a VM's disks, and restore them."),
        "trash": (
            "vm.trash",
            "List and delete what was destroyed or replaced, and can still be recovered.",
        ),
    },
    panels.INSIDE: {
        "ssh": (
            "vm.access",
            "Open a shell in a VM, as its engineer. Exits with the shell's exit code.",
        ),
        "exec": (
            "vm.access",
            "Run one command in a VM, without a terminal. Exits with its exit code.",
        ),
        "console": (
            "vm.access",
            "Open a VM's serial console, for when SSH doesn't work. Press Ctrl-] to leave.",
        ),
        "logs": (
            "vm.access",
            "Show the last lines of a VM's journal: of all its services, and the kernel.",
        ),
        "pages": (
            "vm.access",
            "Show a VM's pages in your browser: what is in it, and the mails that it sent.",
        ),
        "db": ("vm.db", "Export, import and query a VM's databases."),
    },
    panels.FLEET: {
        "pin": (
            "rollout.pin",
            "Exclude a VM from rollouts until the end of a day; replaces an earlier pin.",
        ),
        "unpin": ("rollout.pin", "Let rollouts update a VM again."),
        "release": (
            "release",
            "Record releases of the stack, and show what changes with each.",
        ),
        "rollout": (
            "rollout.rollout",
            "Roll out a release to the fleet: a canary first, then wave by wave.",
        ),
        "fleet": ("fleet.fleet", "Show all VMs on this host at a glance."),
    },
    panels.HOST: {
        "setup": (
            "host.setup",
            "Set up this host: system packages, libvirt, groups, the state folder, VM names.",
        ),
        "doctor": (
            "host.doctor",
            "Find what is unfinished, lost or damaged: VMs, disks, boxes, leases.",
        ),
        "version": (
            "host.version",
            "Show the version of devvm; `devvm stack show` shows the stack's.",
        ),
        "stack": (
            "stack.stack",
            "Make, show and check the stack that devvm works with.",
        ),
        "production": (
            "production.production",
            "Describe production, and allow VMs to differ from it.",
        ),
        "box": (
            "box.box",
            "Build, list, verify and remove boxes: the golden images that VMs are cloned from.",
        ),
        "pool": ("pool.pool", "Keep spare VMs, created and checked in advance."),
        "config": ("host.config", "Show the configuration."),
    },
}


class Commands(TyperGroup):
    """The root's commands: lines of the table, until one of them is used."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - Typer's
        super().__init__(**settings)
        for option in self.params:
            if not getattr(option, "is_flag", False):
                _read_if_given(option)
        for panel, commands in TABLE.items():
            for name, (_, summary) in commands.items():
                self.add_command(TyperCommand(name, help=summary, rich_help_panel=panel))

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """The root's options."""
        params = super().get_params(ctx)
        for option in params:
            if getattr(option, "is_flag", False):
                _decide(option)
        return params

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - as above
        """The command that the first argument names, loaded, and the arguments after it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(command.name or "", ctx), rest


def load(name: str, context: typer.Context) -> Any:  # noqa: ANN401 - Click's, or Typer's own
    """Load a command or group from its module.

    Args:
        name: Its name in the table.
        context: The root's.
    """
    module = next(commands[name][0] for commands in TABLE.values() if name in commands)
    app = typer.Typer()
    import_module(f"devvm.cli.{module}").register(app)
    command = typer.main.get_group(app).commands[name]
    _finish(command, context)
    return command


def _finish(command: Any, context: typer.Context) -> None:  # noqa: ANN401 - as above
    # Join the lines of each paragraph; Typer only does this for the first one.
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    _decide(command.get_help_option(context))
    for subcommand in getattr(command, "commands", {}).values():
        _finish(subcommand, context)


def _read_if_given(option: Any) -> None:  # noqa: ANN401 - as above
    """Leave an option alone that isn't given; Typer needs pydantic to read that, too."""
    read = option.process_value
    option.process_value = lambda context, value: None if value is None else read(context, value)


def _decide(flag: Any) -> None:  # noqa: ANN401 - as above
    """Make a flag that isn't given False; Typer's own are None, which it needs pydantic to read."""
    flag.default = bool(flag.default)
