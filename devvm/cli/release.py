"""`devvm release ...`: record, compare and retire releases of the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import completion, formatting, options, panels
from devvm.cli.box.build import build_box
from devvm.cli.host import readiness
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.box.lock import Locked
    from devvm.operations.release.releases import Compared, Created, Listed

_HELP = "A release from `devvm release list`, or `latest`."

ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE", show_default=False, autocompletion=completion.recorded, help=_HELP,
    ),
]  # fmt: skip


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(
        parent,
        "release",
        "Record releases of the stack, and show what changes with each.",
        panels.FLEET,
    )
    app.command(epilog="Example:  devvm release create --note 'HTTP/2, MariaDB 10.11.11'")(create)
    app.command("list", epilog="Example:  devvm release list --json")(list_releases)
    app.command(epilog="Example:  devvm release show latest")(show)
    app.command(epilog="Example:  devvm release diff 2026.11.23-1a2b3c4d5e6f latest")(diff)
    app.command(epilog="Example:  devvm release retire 2026.11.23-1a2b3c4d5e6f")(retire)
    app.command(epilog="Example:  devvm release lock --check")(lock)


def create(
    context: typer.Context,
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="TEXT", show_default=False,
                     help="What people should know about it, in one line."),
    ] = None,
    newest: options.Newest = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Record the working tree as a release: build its box, verify it, list what is new.

    Building needs root (asks sudo). The release keeps a copy of what production is now, with which
    rollouts compare VMs. Run it again to update that copy.
    """
    from devvm import wiring
    from devvm.operations.box import in_hand
    from devvm.operations.release import releases

    session = Session.of(context)
    config = session.config()
    readiness.ensure(session, config, yes=yes)
    services = wiring.build_services(config)
    by = wiring.invoker().login
    if in_hand.find(services, newest=newest) is None:
        build_box(session, services, newest=newest, yes=yes)
    said = None if note is None else " ".join(note.split())
    created = releases.create(
        services, session.run("release create"), by=by, note=said, newest=newest
    )
    data = {
        "release": _data(created.listed),
        "new": created.new,
        "production_renewed": created.production_renewed,
    }
    session.output.result(data, lambda: _show_created(session, created))


def _show_created(session: Session, created: Created) -> None:
    _show_one(session, created.listed)
    if created.new:
        session.output.note(f"Next: devvm rollout plan {created.listed.record.release}")
    elif created.production_renewed:
        session.output.note("Updated the release's copy of what production is")


def lock(
    context: typer.Context,
    release: Annotated[
        str | None,
        typer.Option("--release", metavar="RELEASE", show_default=False,
                     autocompletion=completion.releases,
                     help="Lock the packages of this release, which has a box or a record here."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 3 if it would change.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Lock the packages of the working tree: write packages.lock and show what changes.

    Lists what the mirror has now by name, version and sha256, checked by apt. Boxes of the stack
    then get exactly these packages, on every host and every day. Add the file to the pull request.
    """
    from devvm import wiring
    from devvm.operations.box import lock as release_lock

    session = Session.of(context)
    config = session.config()
    tools = wiring.build_box_services(config)
    given = None
    if release is not None:
        given = release_lock.of_release(wiring.build_services(config), tools.cache, release)
    run = session.run("release lock")
    locked = release_lock.lock(
        wiring.stack(config),
        tools.archive,
        tools.declarations.packages(),
        run,
        given=given,
        check=check,
    )
    data = {**vars(locked), "packages": locked.packages.versions}
    session.output.result(data, lambda: _show_locked(session, locked))
    if check and (locked.first or locked.changes):
        raise typer.Exit(ExitCode.DIFFERS)


def _show_locked(session: Session, locked: Locked) -> None:
    packages = formatting.plural(len(locked.packages), "package")
    if locked.changes:
        session.output.table(
            ("PACKAGE", "CHANGE", "OLD", "NEW"),
            [(c.name, c.kind.value, c.old or "-", c.new or "-") for c in locked.changes],
        )
    if locked.first:
        what = "none locked before"
    elif locked.changes:
        what = f"{len(locked.changes)} changed"
    else:
        what = "none changed"
    session.output.line(f"{locked.path}: {packages}, {what}")
    if locked.written:
        session.output.note("Next: add it to a pull request, then: devvm box build")
    elif locked.first or locked.changes:
        session.output.note("Nothing was written. Next: devvm release lock")


def list_releases(context: typer.Context, json: options.Json = False) -> None:
    """List the recorded releases, newest first."""
    from devvm.operations.release import releases

    session = Session.of(context)
    found = releases.list_releases(session.services())
    session.output.result(
        {"releases": [_data(listed) for listed in found]}, lambda: _show_list(session, found)
    )


def _show_list(session: Session, found: list[Listed]) -> None:
    if not found:
        session.output.note("No release is recorded yet. Next: devvm release create")
        return
    several = len({listed.record.stack for listed in found} - {""}) > 1
    session.output.table(
        ("RELEASE", *(["STACK"] if several else []), "AGE", "BY", "VMS", "BOX", "STATE", "NOTE"),
        [
            (
                listed.record.release,
                *([listed.record.stack or "-"] if several else []),
                formatting.age(listed.record.created_at),
                listed.record.created_by,
                str(len(listed.vms)),
                "yes" if listed.box else "no",
                "retired" if listed.record.retired_at else "current",
                listed.record.note or _brief(listed.record.changes),
            )
            for listed in found
        ],
    )


def _brief(changes: tuple[str, ...]) -> str:
    """The first few changes, for a release without a note."""
    shown = ", ".join(changes[:3])
    return f"{shown} …" if len(changes) > 3 else shown


def show(context: typer.Context, release: ReleaseArgument, json: options.Json = False) -> None:
    """Show one release: what changed with it, and which VMs are on it."""
    from devvm.operations.release import releases

    session = Session.of(context)
    listed = releases.show(session.services(), release)
    data = _data(listed) | {"packages": listed.record.packages}
    session.output.result(data, lambda: _show_one(session, listed))


def _show_one(session: Session, listed: Listed) -> None:
    record = listed.record
    rows = [
        ("Note", record.note or "-"),
        ("Created", f"{record.created_at} by {record.created_by}"),
        ("Stack", record.stack or "-"),
        ("State", f"retired since {record.retired_at}" if record.retired_at else "current"),
        ("Box", "yes" if listed.box else "no"),
        ("Packages", str(len(record.packages))),
        ("VMs", ", ".join(listed.vms) or "none"),
        ("Previous", record.previous or "none: this is the first recorded release"),
    ]
    if record.previous:
        changes = record.changes or ("none that can be described",)
        rows += [("" if number else "Changes", line) for number, line in enumerate(changes)]
    session.output.facts(record.release, rows, good=record.retired_at is None)


def diff(
    context: typer.Context,
    a: Annotated[str, typer.Argument(
        metavar="A", show_default=False, autocompletion=completion.recorded, help=_HELP)],
    b: Annotated[str, typer.Argument(
        metavar="B", show_default=False, autocompletion=completion.recorded, help=_HELP)],
    json: options.Json = False,
) -> None:  # fmt: skip
    """Show what changes for a VM from release A to release B; B may be the older one."""
    from devvm.operations.release import releases

    session = Session.of(context)
    compared = releases.diff(session.services(), a, b)
    session.output.result(_compared_data(compared), lambda: _show_diff(session, compared))


def _compared_data(compared: Compared) -> dict[str, Any]:
    found = compared.difference
    return {
        "a": compared.old.release,
        "b": compared.new.release,
        "changes": compared.words,
        "packages": [{"name": p.name, "a": p.old, "b": p.new} for p in found.packages],
        "roles": [change.role for change in found.roles],
        "playbooks": found.playbooks,
        "others": found.others,
    }


def _show_diff(session: Session, compared: Compared) -> None:
    if compared.old == compared.new:
        session.output.note("A and B are the same release")
    elif not compared.words:
        session.output.note("They have no differences that can be described")
    for line in compared.words:
        session.output.line(line)


def retire(context: typer.Context, release: ReleaseArgument, json: options.Json = False) -> None:
    """Retire a release: no more VMs are updated to it, and none counts as behind it.

    Refuses if a VM is on it. It stays on record; `devvm release create` with its stack in the
    working tree makes it current again.
    """
    from devvm.operations.release import releases

    session = Session.of(context)
    listed = releases.retire(session.services(), release, session.run("release retire"))
    session.output.result({"release": _data(listed)}, lambda: _show_retired(session, listed))


def _show_retired(session: Session, listed: Listed) -> None:
    name = listed.record.release
    session.output.line(f"{name} is retired")
    if listed.box:
        session.output.note(f"To remove its box too: devvm box remove {name}")


def _data(listed: Listed) -> dict[str, Any]:
    data = {**vars(listed.record), "box": listed.box, "vms": listed.vms}
    del data["packages"]  # hundreds of them; only `show` lists them
    return data
