"""`devvm production capture`: write a manifest of production's hosts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import formatting, options
from devvm.cli.session import Session

if TYPE_CHECKING:
    from devvm.config import Config
    from devvm.operations.production.capture import Captured


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example:  devvm production capture --host web1 --host web2")(capture)


def capture(
    context: typer.Context,
    host: Annotated[
        list[str],
        typer.Option(
            "--host", metavar="HOST", show_default=False,
            help="A host, as ssh knows it, or with --inventory a host or group from that; "
            "repeatable.",
        ),
    ],
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", metavar="FILE", exists=True, show_default=False,
                     help="An Ansible inventory that says how to reach the hosts."),
    ] = None,
    ssh_config: Annotated[
        Path | None,
        typer.Option("--ssh-config", metavar="FILE", exists=True, dir_okay=False,
                     show_default=False,
                     help="An OpenSSH configuration to use instead of yours."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, show_default=False,
                     help="The file to write; defaults to production/manifest.yml."),
    ] = None,
    over: Annotated[
        list[Path] | None,
        typer.Option("--over", metavar="FILE", exists=True, dir_okay=False, show_default=False,
                     help="Write a layer: only what differs from this manifest or adds to it. "
                     "Repeatable, the lowest first."),
    ] = None,
    only_if: Annotated[
        list[str] | None,
        typer.Option("--only-if", metavar="CONDITION", show_default=False,
                     help="For a layer: apply it to machines for which this is true "
                     "(docs/parity.md)."),
    ] = None,
    unless: Annotated[
        list[str] | None,
        typer.Option("--unless", metavar="CONDITION", show_default=False,
                     help="For a layer: apply it to machines for which this is false."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", dir_okay=False, show_default=False,
                     help="Keep keyed hashes of secrets, to prove later that they are equal. "
                     "Creates the key if it doesn't exist. Never commit it."),
    ] = None,
    packaged_contents: Annotated[
        bool,
        typer.Option("--packaged-contents/--no-packaged-contents",
                     help="Also keep the text of files that are as packaged, to show what differs "
                     "if one is changed."),
    ] = True,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=1, max=3600,
                     help="How long one host may take, in seconds."),
    ] = 180,
    parallel: Annotated[
        int,
        typer.Option("--parallel", metavar="N", min=1, max=32,
                     help="Number of hosts to read at a time."),
    ] = 4,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Read production's hosts and write a manifest of what they are.

    Read-only and at low priority, over one SSH connection per host, as any user that may read
    everything with sudo. Secrets don't leave the hosts. If hosts differ, the manifest says so and
    keeps what they share. If a host can't be read completely, nothing is written. What the stack's
    checks name is read as well, so run it in your stack's folder.
    """
    from devvm import wiring
    from devvm.operations.production import capture as operation

    session = Session.of(context)
    config = session.config()
    plan = operation.Plan(
        hosts=tuple(host),
        output=output or _default_output(config),
        over=tuple(over or ()),
        only_if=options.conditions(only_if),
        unless=options.conditions(unless),
        key=key,
        packaged_contents=packaged_contents,
        timeout=timeout,
        parallel=parallel,
        description=wiring.stack(config).description(),
    )
    session.output.note(f"With the checks of the stack in {wiring.stack(config).root}")
    hosts = wiring.production_hosts(
        config, overlay="dev" if over else "none", ssh_config=ssh_config, inventory=inventory
    )
    run = session.run("production capture")
    done = operation.capture(hosts, plan, run, datetime.now(UTC).date())
    count = sum(len(items) for items in done.manifest.areas.values())
    data = {
        "file": plan.output,
        "hosts": done.manifest.hosts,
        "items": {area: len(items) for area, items in sorted(done.manifest.areas.items())},
        "changed": done.changed,
        "new_varies": done.new_varies,
        "left_out": done.left_out,
    }
    session.output.result(data, lambda: _show(session, done, plan.output, count))


def _default_output(config: Config) -> Path:
    """The manifest of the working tree.

    Raises:
        UsageError: devvm is installed as a package, whose files must not be edited.
    """
    from devvm import wiring
    from devvm.domain.errors import UsageError

    if config.production_dir is None and wiring.stack(config).fixed:
        raise UsageError(
            "which file? A manifest belongs in the repository of your stack",
            resolution="--output FILE, or: devvm --stack FOLDER production capture",
        )
    return wiring.production(config) / "manifest.yml"


def _show(session: Session, done: Captured, file: Path, count: int) -> None:
    output = session.output
    output.table(
        ("AREA", "ITEMS"),
        [(area, str(len(items))) for area, items in sorted(done.manifest.areas.items())],
    )
    output.line()
    if done.new_varies:
        output.line("These differ from host to host, and are not compared:")
        for name in done.new_varies:
            output.line(f"  {name}")
        output.line()
    if done.left_out:
        output.line("Left out, because a VM without an engineer doesn't have them:")
        for name in done.left_out:
            output.line(f"  {name}")
        output.line("Next: the same command with --only-if engineer, over this layer as well")
        output.line()
    hosts = formatting.plural(len(done.manifest.hosts), "host")
    output.line(f"Wrote {formatting.plural(count, 'item')} from {hosts} to {file}")
    if done.changed is not None:
        output.line(
            f"{formatting.plural(done.changed, 'item')} changed since the previous manifest"
        )
