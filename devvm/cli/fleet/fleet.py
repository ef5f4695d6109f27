"""`devvm fleet ...`: all VMs on this host at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from devvm.cli import formatting, options, panels, reports
from devvm.cli.fleet import fleet_serializers, verify_fleet
from devvm.cli.session import Session

if TYPE_CHECKING:
    from devvm.domain.rollout.state import Record
    from devvm.operations.fleet.report import HostLine, Overview, ReleaseLine

#: How many VMs to list as behind; the others are counted.
_LISTED = 20
#: How many rollouts to report: each can be as long as the fleet.
_ROLLOUTS = 10


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(parent, "fleet", "Show all VMs on this host at a glance.", panels.FLEET)
    app.command(epilog="Example:  devvm fleet report --html fleet.html")(report)


def report(
    context: typer.Context,
    html: options.Html = None,
    json: options.Json = False,
) -> None:
    """Report on releases, VMs that are behind, failed checks, rollouts, memory and disk.

    Does not log in to VMs: parity is what the last check of each VM found.
    """
    from devvm.operations.fleet import report as fleet_report

    session = Session.of(context)
    services = session.services()
    overview = fleet_report.look(services, rollouts=_ROLLOUTS)
    data = fleet_serializers.overview(overview)
    if html:
        from devvm.html import fleet_report as html_fleet

        reports.write_page(html_fleet.render(data), html)
    session.output.result(data, lambda: _show(session, overview))


def _show(session: Session, fleet: Overview) -> None:
    output = session.output
    if fleet.releases:
        output.table(
            ("RELEASE", "VMS", "MATCH", "DIFFER", "NOT CHECKED", "REMARK"),
            [_release(one) for one in fleet.releases],
        )
        output.line()
    _show_behind(session, fleet)
    verify_fleet.show_checks(session, fleet.checks)
    if fleet.rollouts:
        output.table(
            ("ROLLOUT", "RELEASE", "STATE", "DONE", "FAILED", "LEFT", "STARTED"),
            [_rollout(one) for one in fleet.rollouts],
        )
        output.line()
    for host in fleet.hosts:
        output.facts(host.uri, _host(host))
        output.line()
    output.line(_verdict(fleet))


def _show_behind(session: Session, fleet: Overview) -> None:
    if not (late := fleet.behind):
        return
    rows = [
        (
            one.vm.name,
            one.vm.metadata.engineer if one.vm.metadata else "-",
            one.release or "-",
            formatting.behind(one.standing.behind),
            str(one.vm.state),
        )
        for one in late[:_LISTED]
    ]
    session.output.table(("VM", "ENGINEER", "RELEASE", "BEHIND", "STATE"), rows)
    if len(late) > _LISTED:
        session.output.line(f"... and {len(late) - _LISTED} more: devvm list")
    session.output.line()


def _release(one: ReleaseLine) -> tuple[str, ...]:
    total, match, differ = one.vms_total, one.vms_matching, one.vms_differing
    return (one.release, *map(str, (total, match, differ, total - match - differ)), _remark(one))


def _remark(one: ReleaseLine) -> str:
    if one.record is None:
        return "not on record"
    if one.record.retired_at:
        return "retired"
    return "latest" if one.behind == 0 else ""


def _rollout(record: Record) -> tuple[str, ...]:
    tally = record.tally()
    return (
        record.plan.id, record.plan.terms.release, str(record.state),
        f"{tally.done} of {sum(tally)}", str(tally.failed), str(tally.waiting + tally.left),
        formatting.date(record.started_at),
    )  # fmt: skip


def _host(host: HostLine) -> list[tuple[str, str]]:
    gib, size = formatting.gib, formatting.size
    memory = f"{gib(host.memory_running_mib)} assigned to running VMs"
    kept = f"{size(host.pool_kept_bytes)} snapshots and trash"
    disk = f"{size(host.pool_vms_bytes)} VMs, {kept}, {size(host.pool_boxes_bytes)} boxes"
    return [
        ("VMs", f"{host.vms}, {host.running} running"),
        ("Memory", f"{memory}; {gib(host.memory_free_mib)} free of {gib(host.memory_mib)}"),
        ("Disk", f"{disk}; {size(host.pool_free_bytes)} free"),
    ]


def _verdict(fleet: Overview) -> str:
    """A summary of the fleet in one line."""
    total = len(fleet.vms)
    if not total:
        return "There are no VMs on this host. Next: devvm create"
    differ, unchecked = fleet.differing, sum(one.standing.parity is None for one in fleet.vms)
    parts = [
        f"{fleet.latest} on the latest release", f"{len(fleet.behind)} behind",
        f"{differ} {'differs' if differ == 1 else 'differ'} from production",
        f"{unchecked} not checked",
    ]  # fmt: skip
    return f"{formatting.plural(total, 'VM')}: {', '.join(parts)}"
