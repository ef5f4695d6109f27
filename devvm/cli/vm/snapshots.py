"""`snapshot ...`, `clone`: snapshots and copies of a VM's disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import formatting, options, panels, reports, serializers
from devvm.cli.confirm import confirm
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.vm.clone import Cloned
    from devvm.operations.vm.snapshots import Snapshot

Label = Annotated[
    str, typer.Argument(metavar="SNAPSHOT", show_default=False, help="Name of the snapshot.")
]


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    app = panels.group(
        parent, "snapshot", "Take snapshots of a VM's disks, and restore them.", panels.SAFETY
    )
    app.command(epilog="Example:  devvm snapshot create dev1 before-upgrade")(create)
    app.command("list", epilog="Example:  devvm snapshot list dev1")(list_snapshots)
    app.command(epilog="Example:  devvm snapshot restore dev1 before-upgrade")(restore)
    app.command(epilog="Example:  devvm snapshot delete dev1 before-upgrade")(delete)
    parent.command(
        rich_help_panel=panels.SAFETY, epilog="Example:  devvm clone dev1 --as dev1-copy"
    )(clone)


def create(
    context: typer.Context,
    name: options.RequiredName,
    label: Label,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Take a snapshot of a VM's root and data disks. A running VM keeps running."""
    from devvm.operations.vm import snapshots

    session = Session.of(context)
    vm_name = session.vm_name(name)
    snapshots.validate_label(label)
    run = session.run(f"snapshot create {vm_name}")
    made = snapshots.create(session.services(), vm_name, label, run)
    session.output.result(
        {"snapshot": serializers.snapshot(made), "run": run.record("done")},
        lambda: session.output.line(f"Snapshot {label} of {vm_name} created"),
    )


def list_snapshots(
    context: typer.Context, name: options.Name = None, json: options.Json = False
) -> None:
    """List a VM's snapshots."""
    from devvm.operations.vm import snapshots

    session = Session.of(context)
    vm_name = session.vm_name(name)
    found = snapshots.list_snapshots(session.services(), vm_name)
    session.output.result(
        {"snapshots": [serializers.snapshot(snapshot) for snapshot in found]},
        lambda: _show_list(session, vm_name, found),
    )


def _show_list(session: Session, name: str, found: list[Snapshot]) -> None:
    if not found:
        session.output.note(f"{name} has no snapshots")
        return
    states = {"off": "shut off", "frozen": "running, frozen", "crash": "running, not frozen"}
    session.output.table(
        ("SNAPSHOT", "AGE", "SIZE", "RELEASE", "TAKEN WHILE"),
        [
            (
                snapshot.kept.label,
                formatting.age(snapshot.kept.kept_at),
                formatting.size(snapshot.used_bytes),
                snapshot.kept.vm.release,
                states.get(snapshot.kept.consistency, snapshot.kept.consistency),
            )
            for snapshot in found
        ],
    )


def restore(
    context: typer.Context,
    name: options.RequiredName,
    label: Label,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Restore a VM from a snapshot. Its current state goes to the trash."""
    from devvm.operations.vm import snapshots

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    snapshots.check(services, vm_name, label)  # don't ask about one that doesn't exist
    if not yes:
        confirm(
            session,
            f"This restores {vm_name}, including its data, from the snapshot {label}; its current "
            "state goes to the trash.",
            f"devvm snapshot restore {vm_name} {label} --yes",
        )
    run = session.run(f"snapshot restore {vm_name}")
    machine = snapshots.restore_snapshot(services, vm_name, label, run)
    session.output.result(
        {"vm": serializers.vm(machine), "run": run.record("done")},
        lambda: session.output.line(
            f"{vm_name} was restored from {label} and is {machine.state}; "
            "its previous state is in the trash"
        ),
    )


def delete(
    context: typer.Context,
    name: options.RequiredName,
    label: Label,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Delete a snapshot permanently. The VM itself is not changed."""
    from devvm.operations.vm import snapshots

    session = Session.of(context)
    vm_name = session.vm_name(name)
    run = session.run(f"snapshot delete {vm_name}")
    removed = snapshots.delete(session.services(), vm_name, label, run)
    session.output.result(
        {"snapshot": label, "removed": removed, "run": run.record("done")},
        lambda: session.output.line(f"Snapshot {label} of {vm_name} deleted"),
    )


def clone(
    context: typer.Context,
    source: options.RequiredName,
    name: Annotated[
        str,
        typer.Option("--as", metavar="NAME", show_default=False, help="Name of the new VM."),
    ],
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", metavar="SNAPSHOT", show_default=False,
            help="Copy the disks from this snapshot; by default, as they are now.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Create a copy of a VM, with its own name, address and keys.

    Exits with 3 if the VM was created but a check fails.
    """
    from devvm.operations.vm import clone as operation

    session = Session.of(context)
    original, vm_name = session.vm_name(source), session.vm_name(name)
    run = session.run(f"clone {original}")
    done = operation.clone(session.services(), original, vm_name, run, snapshot=snapshot)
    session.output.result(
        {
            "vm": serializers.vm(done.vm),
            "url": done.url,
            "ssh_command": f"devvm ssh {vm_name}",
            "report": serializers.report(done.report),
            "run": run.record("done"),
        },
        lambda: _show_clone(session, original, done),
    )
    if not done.report.passed:
        raise typer.Exit(ExitCode.DIFFERS)


def _show_clone(session: Session, source: str, done: Cloned) -> None:
    reports.show_failures(session, done.report)
    session.output.facts(
        f"{done.vm.name} is a copy of {source}",
        [
            ("Log in", f"devvm ssh {done.vm.name}"),
            ("Site", done.url),
            *reports.checked(done.report),
        ],
        good=done.report.passed,
    )
