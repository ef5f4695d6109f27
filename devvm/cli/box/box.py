"""`devvm box ...`: the golden images of releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import formatting, options, panels, reports, serializers
from devvm.cli.box.build import build_box
from devvm.cli.host import readiness
from devvm.cli.pool import refill
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode, UsageError
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.box import Box
    from devvm.domain.saved_state import SavedState
    from devvm.ports.services import Services

ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE", show_default=False, autocompletion=options.completion.releases,
        help="A release from `devvm box list`.",
    ),
]  # fmt: skip


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(
        parent,
        "box",
        "Build, list, verify and remove boxes: the golden images that VMs are cloned from.",
        panels.HOST,
    )
    app.command(epilog="Example:  devvm box build")(build)
    app.command("list", epilog="Example:  devvm box list --json")(list_boxes)
    app.command(epilog="Example:  devvm box show 2026.11.23-1a2b3c4d5e6f")(show)
    app.command(epilog="Example:  devvm box verify 2026.11.23-1a2b3c4d5e6f")(verify)
    app.command(epilog="Example:  devvm box warm")(warm)
    app.command(epilog="Example:  devvm box remove 2026.11.23-1a2b3c4d5e6f")(remove)


def build(
    context: typer.Context,
    release: options.Release = None,
    force: Annotated[
        bool, typer.Option("--force", help="Build it again, including finished stages.")
    ] = False,
    newest: options.Newest = False,
    result: Annotated[
        bool, typer.Option("--result/--no-result", hidden=True, help="Print the box at the end.")
    ] = True,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Build the box of the working tree, verify it in a real VM and register it.

    Installs the packages in packages.lock or, without that file, those that the mirror has now.
    With --release, builds a box again with the packages that it had. Needs root (asks sudo). An
    interrupted build continues where it stopped.
    """
    from devvm import wiring
    from devvm.operations.vm import requirements

    session = Session.of(context)
    config = session.config()
    readiness.ensure(session, config, yes=yes)
    services = wiring.build_services(config)
    built = build_box(session, services, release=release, force=force, newest=newest, yes=yes)
    if not result:
        return
    refill.start(session, services)
    built = built or requirements.find_box(services, release, newest=newest)
    assert built is not None
    _result(session, services, built.release)
    if not session.output.json:
        session.output.note("Next: devvm create")


def list_boxes(context: typer.Context, json: options.Json = False) -> None:
    """List the boxes on this host."""
    from devvm.operations.box import boxes

    session = Session.of(context)
    services = session.services()
    found = [(golden, boxes.warm_box(services, golden)) for golden in boxes.list_boxes(services)]
    current = services.stack.content()
    session.output.result(
        {"stack": current, "boxes": [serializers.box(golden, warm) for golden, warm in found]},
        lambda: _show_list(session, found, current),
    )


def _show_list(session: Session, found: list[tuple[Box, SavedState | None]], current: str) -> None:
    if not found:
        session.output.note("There are no boxes on this host. Next: devvm box build")
        return
    session.output.table(
        ("RELEASE", "AGE", "SIZE", "DEBIAN", "VERIFIED", "WARM", "STACK"),
        [
            (
                golden.release,
                formatting.age(golden.built_at),
                formatting.size(golden.size_bytes),
                golden.debian,
                "yes" if golden.verified else "no",
                "yes" if warm else "no",
                "current" if golden.content == current else "other",
            )
            for golden, warm in found
        ],
    )


def show(context: typer.Context, release: ReleaseArgument, json: options.Json = False) -> None:
    """Show one box and count its packages; --json lists them."""
    session = Session.of(context)
    _result(session, session.services(), release)


def _result(session: Session, services: Services, release: str) -> None:
    from devvm.operations.box import boxes

    golden = boxes.show(services, release)
    warm = boxes.warm_box(services, golden)
    session.output.result(
        serializers.box(golden, warm, packages=True), lambda: _show_box(session, golden, warm)
    )


def _show_box(session: Session, golden: Box, warm: SavedState | None) -> None:
    newer = moved.in_a_line(golden.moved)
    rows = [
        ("File", str(golden.path)),
        ("Size", formatting.size(golden.size_bytes)),
        ("SHA-256", golden.sha256),
        ("Built", golden.built_at),
        ("Verified", "yes" if golden.verified else "no"),
        ("Debian", golden.debian),
        *((f"Code of {name}", commit) for name, commit in golden.applications.items()),
        ("Packages", str(len(golden.packages))),
        *([("", newer)] if newer else []),
        ("Vagrant", golden.vagrant_name),
        (
            "Warm",
            f"for {warm.fits}" if warm else f"no; to make one: devvm box warm {golden.release}",
        ),
    ]
    session.output.facts(golden.release, rows, good=golden.verified)


def verify(
    context: typer.Context,
    release: ReleaseArgument,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Check a box in a temporary VM. Exits with 3 if a check fails."""
    from devvm.operations.box import boxes

    session = Session.of(context)
    report = boxes.verify(session.services(), release, session.run("box verify"))
    session.output.result(serializers.report(report), lambda: reports.show(session, report))
    if not report.passed:
        raise typer.Exit(ExitCode.DIFFERS)


def warm(
    context: typer.Context,
    release: Annotated[
        str | None,
        typer.Argument(
            metavar="RELEASE",
            show_default=False,
            autocompletion=options.completion.releases,
            help="A release from `devvm box list`; defaults to that of the working tree.",
        ),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the warm box; VMs made of it stay.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Keep the memory of a VM booted from a box, so that VMs start in seconds.

    Boots a VM from the box, checks it, and saves its memory beside the box; this takes as much disk
    space as the VM uses memory. `create` and `rebuild` then restore VMs from it instead of booting
    them, if they have the same processors, memory and root disk. `box build` does this by itself.
    """  # fmt: skip
    from devvm.operations.box import boxes
    from devvm.operations.vm import requirements

    session = Session.of(context)
    services = session.services()
    golden = requirements.require_box(services, release)
    if remove:
        done = boxes.cool(services, golden.release, session.run("box warm --remove"))
        session.output.result(
            {"release": golden.release, "removed": done},
            lambda: session.output.line(
                f"{golden.release} has no warm box{' any more' if done else ''}"
            ),
        )
        return
    boxes.make_warm(services, golden.release, session.run("box warm"))
    _result(session, services, golden.release)


def remove(
    context: typer.Context,
    release: ReleaseArgument,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Remove a box. Refuses if a VM is based on it.

    Keeps its packages for another 90 days, to build it again if needed (freeing them needs root).
    """
    from devvm import wiring
    from devvm.operations.box import boxes

    session = Session.of(context)
    services = session.services()
    tools = wiring.build_box_services(services.config)
    # It can be built again, so scripts need not confirm.
    asks = session.output.can_ask and not yes
    if asks and not session.output.confirm(f"Remove the box {release}?"):
        raise UsageError(f"{release} was not removed")
    boxes.remove(services, tools, release, session.run("box remove"))
    session.output.result(
        {"release": release, "removed": True},
        lambda: session.output.line(f"{release} was removed"),
    )
