"""`devvm create`: create a VM and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import options, panels, reports, serializers
from devvm.cli.box.build import release_with_box
from devvm.cli.host import readiness
from devvm.cli.pool import refill
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode
from devvm.domain.name import validate_new_name

if TYPE_CHECKING:
    from devvm.operations.core.progress import Run
    from devvm.operations.vm.create import CreateResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm create dev1 --memory 4G")(create)


def create(
    context: typer.Context,
    name: options.NewName = None,
    engineer: Annotated[
        str | None,
        typer.Option(
            "--engineer",
            metavar="LOGIN",
            show_default=False,
            help="Login of the account in the VM; defaults to yours, or to NAME if you are root.",
        ),
    ] = None,
    ssh_key: options.SshKeys = None,
    branch: Annotated[
        list[str] | None,
        typer.Option(
            "--branch",
            metavar="APPLICATION=BRANCH",
            show_default=False,
            help="The branch of an application to check out; repeatable.",
        ),
    ] = None,
    release: options.Release = None,
    newest: options.Newest = False,
    cpus: options.Cpus = None,
    memory: options.Memory = None,
    root_disk: options.RootDisk = None,
    data_disk: options.DataDisk = None,
    driver: options.Driver = None,
    cold: options.Cold = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="If create fails, keep what it made for inspection."),
    ] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Create a VM with the full stack, checked and ready to work in.

    First sets up the host and builds the box if needed, after asking once. Exits with 3 if the VM
    was created but a check fails.
    """  # fmt: skip
    from devvm import wiring
    from devvm.domain.release import identity as releases
    from devvm.operations.vm import create as operation

    session = Session.of(context)
    vm_name = validate_new_name(session.vm_name(name))
    if release is not None:
        releases.validate_release(release)
    invoker = wiring.invoker()
    own = vm_name if invoker.login == "root" else invoker.login
    login = own if engineer is None else engineer
    chosen = options.branches(branch or ())
    machine = options.machine_overrides(cpus, memory, root_disk, data_disk, driver, cold=cold)
    config = session.config({**machine, "engineer": {"branches": chosen or None}})
    person = invoker.engineer(
        login, ssh_key or (), shell=config.engineer.shell, dotfiles=config.engineer.dotfiles
    )
    readiness.ensure(session, config, yes=yes)
    services = wiring.build_services(config)
    operation.check(services, vm_name, release, chosen)  # before spending minutes on a box
    release = release_with_box(session, services, release=release, newest=newest, yes=yes)
    request = operation.CreateRequest(name=vm_name, engineer=person, release=release, keep=keep)
    run = session.run(f"create {vm_name}")
    result = operation.create(services, request, run)
    refill.start(session, services)
    session.output.result(_data(result, run), lambda: _show(session, result))
    if not result.report.passed:
        raise typer.Exit(ExitCode.DIFFERS)


def _data(result: CreateResult, run: Run) -> dict[str, Any]:
    return {
        "vm": serializers.vm(result.vm),
        "url": result.url,
        "ssh_command": result.ssh_command,
        "ca_certificate": result.ca_certificate,
        "report": serializers.report(result.report),
        "run": run.record("done"),
    }


def _show(session: Session, result: CreateResult) -> None:
    name, passed, lease = result.vm.name, result.report.passed, result.vm.lease
    rows = [
        ("Log in", result.ssh_command),
        ("Site", result.url),
        ("Address", lease.address if lease else "-"),
        ("Release", result.report.release),
        *reports.checked(result.report),
        ("Browser", f"import {result.ca_certificate} once to trust the site"),
        ("", ""),
    ]
    if passed:
        rows += [
            ("Next", f"devvm ssh {name}"),
            *(("", line) for line in result.welcome),
        ]
        session.output.facts(f"{name} is ready", rows)
    else:
        rows += _not_passed(result)
        reports.show_failures(session, result.report)
        what = "checks failed" if result.report.checks else "no check ran"
        session.output.facts(f"{name} was created, but {what}", rows, good=False)


def _not_passed(result: CreateResult) -> list[tuple[str, str]]:
    """Rows for a VM whose checks failed: what to try, whom to tell, what to do meanwhile."""
    from devvm.operations.verify import gate

    name, other = result.vm.name, result.other_release
    rows = [
        ("Fix", f"devvm verify {name} --fix"),
        ("Report to", gate.report_to(result.report)),
        *([("Attach", str(result.log))] if result.log else []),
        ("Meanwhile", f"you can use it as it is: {result.ssh_command}"),
    ]
    if other:
        again = f"devvm destroy {name}; devvm create {name} --release {other}"
        rows.append(("", f"or use another release: {again}"))
    return rows
