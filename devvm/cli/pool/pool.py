"""`devvm pool ...`: VMs that are created in advance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from devvm.cli import options, panels
from devvm.cli.pool import refill, show
from devvm.cli.session import Session
from devvm.domain.errors import UsageError

if TYPE_CHECKING:
    from devvm.config import Config

#: More would fill most disks; each takes as much as a VM has memory, and a little more.
_MOST = 50


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(
        parent, "pool", "Keep spare VMs, created and checked in advance.", panels.HOST
    )
    app.command("set", epilog="Example:  devvm pool set 3")(set_size)
    app.command(epilog="Example:  devvm pool fill")(fill)


def set_size(
    context: typer.Context,
    count: Annotated[
        int,
        typer.Argument(
            metavar="COUNT",
            min=0,
            max=_MOST,
            show_default=False,
            help="How many spare VMs to keep ready; 0 for none.",
        ),
    ],
    release: Annotated[
        str | None,
        typer.Argument(
            metavar="RELEASE",
            show_default=False,
            autocompletion=options.completion.releases,
            help="A release from `devvm box list`; defaults to that of the newest box, whichever "
            "it is by then.",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Keep that many spare VMs ready, made and checked in advance.

    A spare is saved to disk: it takes disk space, but no memory. `create` gives it a name and an
    engineer of its own, and checks it again. The pool is filled in the background: now, after each
    `create`, and by a timer if this host has systemd. Spares that no longer fit, because of a new
    box or new settings, are replaced.
    """
    from devvm.operations.box import boxes
    from devvm.operations.pool import pool, sizes

    session = Session.of(context)
    services = session.services()
    if release is not None:
        boxes.show(services, release)
    if count:
        _refuse_useless(services.config)
    sizes.set_size(services, release or sizes.NEWEST, count)
    pool.drop_stale(services, session.run("pool set"))
    refill.set_timer(session, on=bool(sizes.read(services).spares))
    started = refill.start(session, services)
    result = pool.look(services)
    if started:  # it takes a moment to get the lock
        result = replace(result, filling="devvm pool fill", failure="")
    session.output.result(show.data(result), lambda: show.pool(session, result))


def fill(
    context: typer.Context,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Make the spare VMs that are missing, and remove those that no longer fit.

    Does nothing unless `devvm pool set` has asked for some.
    """
    from devvm.operations.pool import pool

    session = Session.of(context)
    services = session.services()
    result = pool.fill(services, session.run("pool fill"))
    session.output.result(show.data(result), lambda: show.pool(session, result))


def _refuse_useless(config: Config) -> None:
    if not config.vm.warm:
        raise UsageError(
            "spare VMs would not be used",
            details="the setting vm.warm is false, so that VMs boot",
            resolution="devvm config show",
        )
    if config.vm.extra_disks:
        raise UsageError(
            "spare VMs would not be used",
            details="the setting vm.extra_disks gives each VM more disks than a spare can have",
            resolution="devvm config show",
        )
