"""`list`, `show`, `start`, `stop`, `restart`, `resize`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import formatting, options, panels, serializers
from devvm.cli.fleet import fleet_serializers
from devvm.cli.session import Session
from devvm.cli.vm import deferred_update
from devvm.parity.packages import moved

if TYPE_CHECKING:
    from devvm.domain.disk import Disk
    from devvm.domain.run import RunRecord
    from devvm.domain.vm import Vm
    from devvm.operations.core.progress import Run
    from devvm.operations.fleet.status import Standing
    from devvm.operations.verify.last_result import ParityRecord
    from devvm.operations.vm.lifecycle import VmDetails
    from devvm.ports.services import Services

_MAX_DATA_GIB = 4096


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", rich_help_panel=panels.VM, epilog="Example:  devvm list --json")(list_vms)
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm show dev1")(show)
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm start dev1")(start)
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm stop dev1 --force")(stop)
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm restart dev1")(restart)
    app.command(rich_help_panel=panels.VM, epilog="Example:  devvm resize dev1 --data 40G")(resize)


def list_vms(
    context: typer.Context,
    pool: Annotated[
        bool, typer.Option("--pool", help="List the spare VMs of the pool instead.")
    ] = False,
    json: options.Json = False,
) -> None:
    """List the VMs on this host."""
    from devvm.operations.fleet import status
    from devvm.operations.vm import lifecycle

    session = Session.of(context)
    services = session.services()
    if pool:
        _list_pool(session, services)
        return
    machines = lifecycle.list_vms(services)
    stands = status.of(services, machines)
    session.output.result(
        {"vms": [fleet_serializers.vm(machine, stands[machine.name]) for machine in machines]},
        lambda: _show_list(session, machines, stands),
    )


def _list_pool(session: Session, services: Services) -> None:
    from devvm.cli.pool import show
    from devvm.operations.pool import pool

    found = pool.look(services)
    session.output.result(show.data(found), lambda: show.pool(session, found))


def _show_list(session: Session, machines: list[Vm], stands: dict[str, Standing]) -> None:
    if not machines:
        session.output.note("There are no VMs on this host. Next: devvm create")
        return
    from devvm.operations.provision import certificate

    session.output.table(
        (
            "NAME", "STATE", "ENGINEER", "RELEASE", "BEHIND", "PARITY", "ADDRESS", "MEMORY", "CPUS",
            "AGE",
        ),
        [
            (
                machine.name,
                shown_state(machine),
                machine.metadata.engineer if machine.metadata else "-",
                machine.metadata.release if machine.metadata else "-",
                formatting.behind(stands[machine.name].behind),
                _parity(stands[machine.name].parity),
                machine.lease.address if machine.lease else "-",
                formatting.memory(machine.memory_mib) if machine.memory_mib else "-",
                str(machine.cpus or "-"),
                formatting.age(machine.metadata.created_at) if machine.metadata else "-",
            )
            for machine in machines
        ],
    )  # fmt: skip
    for machine in machines:
        if ends := certificate.ends_soon(machine, formatting.today()):
            renew = "doctor --fix" if machine.state == "running" else f"start {machine.name}"
            session.output.note(f"{machine.name}: {ends}. Next: devvm {renew}")


def _parity(record: ParityRecord | None) -> str:
    if record is None:
        return "-"
    return formatting.parity(
        record.checks_failed, record.at, passed=record.passed, ahead=record.checks_ahead
    )


def shown_state(machine: Vm) -> str:
    """The state as text; `unfinished` if the VM's `create` has not finished."""
    unfinished = machine.metadata is not None and not machine.metadata.ready
    return "unfinished" if unfinished else str(machine.state)


def show(
    context: typer.Context,
    name: options.Name = None,
    json: options.Json = False,
) -> None:
    """Show one VM in detail, with the timings of its last run."""
    from devvm.operations.fleet import status
    from devvm.operations.vm import lifecycle

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    details = lifecycle.show(services, vm_name)
    stands = status.of(services, [details.vm])[details.vm.name]
    session.output.result(
        _details_data(details, stands), lambda: _show_details(session, details, stands)
    )


def _details_data(details: VmDetails, stands: Standing) -> dict[str, Any]:
    return {
        "vm": fleet_serializers.vm(details.vm, stands),
        "url": details.url,
        "ca_certificate": details.ca_certificate,
        "disks": details.disks,
        "runs": details.runs,
        "logs": details.logs,
    }


def _show_details(session: Session, details: VmDetails, stands: Standing) -> None:
    from devvm.operations.rollout import pins

    machine = details.vm
    newer = moved.in_a_line(stands.parity.moved) if stands.parity else ""
    metadata, lease = machine.metadata, machine.lease
    pinned = pins.pinned(metadata, formatting.today())
    until = metadata.certificate_until if metadata else ""
    rows = [
        ("State", shown_state(machine)),
        ("Engineer", metadata.engineer if metadata else "-"),
        ("Release", metadata.release if metadata else "-"),
        ("Stack", (metadata.stack if metadata else "") or "-"),
        ("Behind", _behind(stands.behind)),
        ("Parity", _parity(stands.parity)),
        *([("", newer)] if newer else []),
        ("Site", details.url),
        ("CA", str(details.ca_certificate)),
        ("Certificate", f"until {until}" if until else "-"),
        ("Address", lease.address if lease else "-"),
        ("Machine", _machine(machine)),
        ("Created", metadata.created_at if metadata else "-"),
        *([("Pinned", pinned.removeprefix("pinned "))] if pinned else []),
        *((f"Disk {disk.device}", _disk(disk)) for disk in details.disks),
        *([("Log", str(details.logs[-1]))] if details.logs else []),
    ]
    session.output.facts(machine.name, rows, good=bool(metadata and metadata.ready))
    if details.runs:
        show_run(session, details.runs[-1])


def _behind(releases: int | None) -> str:
    return formatting.plural(releases, "release") if releases else formatting.behind(releases)


def _disk(disk: Disk) -> str:
    used, size = formatting.size(disk.used_bytes), formatting.size(disk.size_bytes)
    return f"{used} of {size} used, {disk.path}"


def _machine(machine: Vm) -> str:
    if not machine.cpus:
        return "-"
    cpus = formatting.plural(machine.cpus, "CPU")
    return f"{cpus}, {formatting.memory(machine.memory_mib)}, {machine.driver}"


def show_run(session: Session, record: RunRecord) -> None:
    """Show a run's phases and their durations."""
    output = session.output
    output.line()
    output.line(f"{record.command}: {record.result} in {formatting.duration(record.seconds)}")
    output.table(
        ("PHASE", "RESULT", "TIME"),
        [(p.title, p.result, formatting.duration(p.seconds)) for p in record.phases],
    )


NoUpdate = Annotated[
    bool,
    typer.Option("--no-update", help="Don't apply an update that a rollout left for this start."),
]


def start(
    context: typer.Context,
    name: options.Name = None,
    no_update: NoUpdate = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Start a VM and wait until it is ready for SSH.

    If it was not running during a rollout, it is updated now.
    """
    from devvm.operations.vm import lifecycle

    _change(context, "start", lifecycle.start, name, update=not no_update)


def stop(
    context: typer.Context,
    name: options.Name = None,
    force: Annotated[
        bool, typer.Option("--force", help="Force it off if it does not shut down in time.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Shut down a VM."""
    from devvm.operations.vm import lifecycle

    _change(context, "stop", partial(lifecycle.stop, force=force), name)


def restart(
    context: typer.Context,
    name: options.Name = None,
    force: Annotated[
        bool, typer.Option("--force", help="Force it off if it does not shut down in time.")
    ] = False,
    no_update: NoUpdate = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Restart a VM: `stop`, then `start`."""
    from devvm.operations.vm import lifecycle

    restart = partial(lifecycle.restart, force=force)
    _change(context, "restart", restart, name, update=not no_update)


def _change(
    context: typer.Context,
    verb: str,
    power: Callable[[Services, str, Run], Vm],
    name: str | None,
    *,
    update: bool | None = None,
) -> None:
    """Start, stop or restart a VM.

    `update`: whether to apply a due update afterwards; None if the VM stays off.
    """
    from devvm.operations.core.machine import Machine
    from devvm.operations.vm import lifecycle

    session = Session.of(context)
    vm_name = session.vm_name(name)
    services = session.services()
    run = session.run(f"{verb} {vm_name}")
    vm = power(services, vm_name, run)
    done: dict[str, Any] = {}
    if update is not None:
        done["update"] = deferred_update.bring(session, services, vm, run, wanted=update)
        if done["update"]:
            vm = lifecycle.get(Machine(services, vm_name))
    session.output.result(
        {"vm": serializers.vm(vm), "run": run.record("done"), **done},
        lambda: session.output.line(f"{vm.name} is {shown_state(vm)}"),
    )


def resize(
    context: typer.Context,
    name: options.RequiredName,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SIZE",
            show_default=False,
            help="New size of the data disk, such as 40G or 40 (GiB).",
        ),
    ],
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Enlarge a VM's data disk and its file system. A running VM keeps running."""
    from devvm.operations.vm import resize as operation

    session = Session.of(context)
    vm_name = session.vm_name(name)
    size = options.sized("--data", data, "g")
    if not 1 <= size <= _MAX_DATA_GIB:
        raise typer.BadParameter(f"use 1 to {_MAX_DATA_GIB} GiB", param_hint="'--data'")
    services = session.services()
    run = session.run(f"resize {vm_name}")
    disk = operation.resize(services, vm_name, size, run)
    session.output.result(
        {
            "name": vm_name,
            "disk": disk,
            "run": run.record("done"),
        },
        lambda: session.output.line(
            f"The data disk of {vm_name} is now {formatting.size(disk.size_bytes)}"
        ),
    )
