"""`devvm rebuild`: give a VM a clean system and keep its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from devvm.cli import options, panels, reports, serializers
from devvm.cli.box.build import release_with_box
from devvm.cli.host import readiness
from devvm.cli.session import Session
from devvm.cli.vm import unsaved_work

if TYPE_CHECKING:
    from devvm.operations.vm.rebuild import RebuildResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm rebuild dev1")(rebuild)


def rebuild(
    context: typer.Context,
    name: options.Name = None,
    release: options.Release = None,
    newest: options.Newest = False,
    cold: options.Cold = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Replace a VM's system with a clean one; keep its name, address, host keys and data disk.

    First lists work that is not on the data disk. The old system is kept until the new one has
    passed every check, and is restored if anything fails; afterwards it is in the trash.
    """
    from devvm import wiring
    from devvm.domain.release import identity as releases
    from devvm.operations.vm import lifecycle
    from devvm.operations.vm import rebuild as operation

    session = Session.of(context)
    vm_name = session.vm_name(name)
    if release is not None:
        releases.validate_release(release)
    config = session.config(options.machine_overrides(None, None, None, None, None, cold=cold))
    readiness.ensure(session, config, yes=yes)
    services = wiring.build_services(config)
    lifecycle.check(services, vm_name)
    again = f"devvm rebuild {vm_name}{f' --release {release}' if release else ''} --yes"
    found = unsaved_work.agree(session, services, vm_name, again, yes=yes)
    release = release_with_box(session, services, release=release, newest=newest, yes=yes)
    invoker = wiring.invoker()
    login = vm_name if invoker.login == "root" else invoker.login
    person = invoker.engineer(login, shell=config.engineer.shell)
    request = operation.RebuildRequest(name=vm_name, engineer=person, release=release)
    run = session.run(f"rebuild {vm_name}")
    result = operation.rebuild(services, request, run)
    session.output.result(
        {
            "vm": serializers.vm(result.vm),
            "report": serializers.report(result.report),
            "previous": result.previous,
            "risk": found,
            "run": run.record("done"),
        },
        lambda: _show(session, result),
    )


def _show(session: Session, result: RebuildResult) -> None:
    vm = result.vm
    session.output.facts(
        f"{vm.name} was rebuilt",
        [
            ("Release", result.report.release),
            *reports.checked(result.report),
            ("Old system", f"in the trash: devvm recover {vm.name} --item {result.previous}"),
            ("Next", f"devvm ssh {vm.name}"),
        ],
    )
