"""`destroy`, `recover`, `trash ...`: move VMs to the trash and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import formatting, options, panels, reports, serializers
from devvm.cli.confirm import confirm
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from devvm.domain.saved_state import SavedState
    from devvm.operations.vm.trash import Destroyed, Recovered

Purge = Annotated[
    str | None,
    typer.Option(
        "--purge", metavar="NAME", show_default=False,
        help="Delete permanently; repeat the VM's name to confirm.",
    ),
]  # fmt: skip


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.command(rich_help_panel=panels.SAFETY, epilog="Example:  devvm destroy dev1")(destroy)
    parent.command(rich_help_panel=panels.SAFETY, epilog="Example:  devvm recover dev1")(recover)
    app = panels.group(
        parent,
        "trash",
        "List and delete what was destroyed or replaced, and can still be recovered.",
        panels.SAFETY,
    )
    app.command("list", epilog="Example:  devvm trash list --json")(list_trash)
    app.command(epilog="Example:  devvm trash show dev1")(show)
    app.command(epilog="Example:  devvm trash empty dev1 --purge dev1")(empty)


def destroy(
    context: typer.Context,
    name: options.RequiredName,
    purge: Purge = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Move a VM with its disks to the trash; `devvm recover` brings it back.

    With --purge NAME it is deleted permanently, including its snapshots.
    """
    from devvm.operations.vm import lifecycle, trash

    session = Session.of(context)
    vm_name = session.vm_name(name)
    _same_name(vm_name, purge, f"devvm destroy {vm_name}")
    services = session.services()
    lifecycle.check(services, vm_name)  # don't ask about one that doesn't exist
    if not yes and purge is None:
        confirm(
            session,
            f"This shuts down {vm_name} and moves it, including its data, to the trash, where it "
            f"stays for {formatting.plural(services.config.trash.days, 'day')}.",
            f"devvm destroy {vm_name} --yes",
        )
    run = session.run(f"destroy {vm_name}")
    done = trash.destroy(services, vm_name, run, purge=purge is not None)
    session.output.result(
        {
            "name": vm_name,
            "trash": serializers.kept(done.kept) if done.kept else None,
            "run": run.record("done"),
        },
        lambda: _show_destroyed(session, done),
    )


def _show_destroyed(session: Session, done: Destroyed) -> None:
    if done.kept is None:
        session.output.line(f"{done.name} was deleted permanently")
        return
    session.output.line(
        f"{done.name} is in the trash until {formatting.date(done.kept.expires_at)}"
    )
    session.output.note(f"To bring it back: devvm recover {done.name}")


def recover(
    context: typer.Context,
    name: options.RequiredName,
    item: Annotated[
        str | None,
        typer.Option(
            "--item", metavar="ID", show_default=False,
            help="Item in the trash to recover; defaults to the VM that was destroyed last.",
        ),
    ] = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Bring a VM back from the trash, start it and check it.

    With --item, an earlier state replaces the existing VM, whose current state goes to the trash.
    Exits with 3 if the VM is back but a check fails.
    """
    from devvm.operations.vm import trash

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    if item is not None and not yes and trash.takes_the_place(services, vm_name):
        confirm(
            session,
            f"This replaces {vm_name}, including its data, with an earlier state; the current "
            "state goes to the trash.",
            f"devvm recover {vm_name} --item {item} --yes",
        )
    run = session.run(f"recover {vm_name}")
    done = trash.recover(services, vm_name, run, identifier=item)
    session.output.result(
        {
            "vm": serializers.vm(done.vm),
            "report": serializers.report(done.report),
            "run": run.record("done"),
        },
        lambda: _show_recovered(session, done),
    )
    if not done.report.passed:
        raise typer.Exit(ExitCode.DIFFERS)


def _show_recovered(session: Session, done: Recovered) -> None:
    reports.show_failures(session, done.report)
    (_, passed), *newer = reports.checked(done.report)
    session.output.line(f"{done.vm.name} is back and running; {passed}")
    for _, line in newer:
        session.output.line(line)


def list_trash(context: typer.Context, json: options.Json = False) -> None:
    """List what is in the trash."""
    from devvm.operations.vm import trash

    session = Session.of(context)
    items = trash.items(session.services())
    session.output.result(
        {"items": [serializers.kept(kept) for kept in items]}, lambda: _show_items(session, items)
    )


def _show_items(session: Session, items: list[SavedState]) -> None:
    if not items:
        session.output.note("The trash is empty")
        return
    session.output.table(
        ("ID", "NAME", "WHAT", "ENGINEER", "AGE", "EXPIRES"),
        [
            (
                kept.id,
                kept.vm.name,
                kept.label,
                kept.vm.engineer or "-",
                formatting.age(kept.kept_at),
                formatting.date(kept.expires_at),
            )
            for kept in items
        ],
    )


def show(
    context: typer.Context,
    which: Annotated[
        str,
        typer.Argument(
            metavar="NAME|ID", show_default=False, help="Name of a VM, or ID of an item."
        ),
    ],
    json: options.Json = False,
) -> None:
    """Show one VM's items in the trash, with their disks."""
    from devvm.operations.vm import trash

    session = Session.of(context)
    items = trash.show(session.services(), which)
    session.output.result(
        {"items": [serializers.kept(kept) for kept in items]},
        lambda: _show_each(session, items),
    )


def _show_each(session: Session, items: list[SavedState]) -> None:
    for kept in items:
        again = f"devvm recover {kept.vm.name} --item {kept.id}"
        session.output.facts(
            f"{kept.vm.name}: {kept.label}",
            [
                ("Item", kept.id),
                ("Since", formatting.date(kept.kept_at)),
                ("Expires", formatting.date(kept.expires_at)),
                ("Engineer", kept.vm.engineer or "-"),
                ("Release", kept.vm.release or "-"),
                *((f"Disk {disk.role}", str(disk.path)) for disk in kept.disks),
                *([("Next", again)] if kept.whole else []),
            ],
            good=kept.whole,
        )


def empty(
    context: typer.Context,
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|ID]", show_default=False,
            help="Name of a VM, for all its items, or ID of one item; by default, all that has "
            "expired.",
        ),
    ] = None,
    purge: Purge = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Delete items in the trash permanently.

    Without an argument, deletes only what has expired. With one, asks you to type the VM's name,
    unless you give it with --purge.
    """
    from devvm.operations.provision import gc
    from devvm.operations.vm import trash

    session = Session.of(context)
    services = session.services()
    doomed = gc.expired(services) if which is None else trash.doomed(services, which)
    if which is not None and doomed:
        name = doomed[0].vm.name
        again = f"devvm trash empty {which}"
        _same_name(name, purge, again)
        if purge is None:
            _type_name(session, name, doomed, f"{again} --purge {name}")
    run = session.run(f"trash empty {which or ''}".strip())
    removed = trash.empty(services, doomed, run)
    session.output.result(
        {"items": [serializers.kept(kept) for kept in doomed], "removed": removed},
        lambda: session.output.line(
            f"{formatting.plural(len(doomed), 'item')} deleted permanently"
            if doomed
            else "Nothing in the trash has expired"
            if which is None
            else "Nothing to delete"
        ),
    )


def _same_name(name: str, purge: str | None, again: str) -> None:
    if purge is not None and purge != name:
        raise UsageError(
            f"--purge {purge} doesn't match the VM's name, {name}; nothing was deleted",
            resolution=f"{again} --purge {name}",
        )


def _type_name(session: Session, name: str, doomed: list[SavedState], again: str) -> None:
    if not session.output.can_ask:
        raise UsageError(
            f"deleting {name} permanently needs confirmation",
            details="this deletes its data too; devvm can only ask on a terminal, and without "
            "--json",
            resolution=again,
        )
    for kept in doomed:
        session.output.item(f"{kept.vm.name}, {kept.label}, of {formatting.date(kept.kept_at)}")
    session.output.note("This deletes them permanently, with home, checkouts and databases.")
    if session.output.ask(f"Type {name} to continue: ").strip() != name:
        raise UsageError("nothing was deleted", details="the name doesn't match")
