"""`devvm production show`, `diff`, `lint`, `propose`: read and check manifests of production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import formatting, options
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devvm.cli.output import Output
    from devvm.operations.production.manifests import FileFinding, Item
    from devvm.parity.differences.diff import Differences
    from devvm.parity.production.manifest import Manifest
    from devvm.parity.proposal.propose import Proposal, Task


def register(app: typer.Typer) -> None:
    """Add the commands to the group `production`."""
    app.command(epilog="Example:  devvm production show 'unit/nginx*'")(show)
    app.command(
        epilog="Example:  devvm production diff production/manifest.yml new.yml\n\n"
        "With git:  devvm production diff <(git show HEAD:production/manifest.yml) "
        "production/manifest.yml"
    )(diff)
    app.command(epilog="Example:  devvm production lint new.yml")(lint)
    app.command(
        epilog="Example:  devvm production propose new.yml\n\n"
        "If a capture replaced the manifest:  devvm production propose "
        "production/manifest.yml --from <(git show HEAD:production/manifest.yml)"
    )(propose)


def show(
    context: typer.Context,
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN", show_default=False,
            help="Name of a check, an area or a shell pattern: sysctl, 'unit/nginx*', "
            "file/etc/nginx/nginx.conf. Without it: an overview.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", metavar="FILE", show_default=False,
            help="A manifest or layer; defaults to the stack's manifest.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Show what production is: which hosts were captured and when, or items with their facts."""
    from devvm import wiring
    from devvm.operations.production import manifests as operation

    session = Session.of(context)
    file = manifest or wiring.production(session.config()) / operation.MANIFEST
    shown = operation.read(file)
    items = None if pattern is None else operation.find(shown, pattern, file)
    data = {
        "file": file,
        "captured": shown.captured.isoformat() if shown.captured else None,
        "hosts": shown.hosts,
        "only_if": shown.only_if,
        "unless": shown.unless,
        "areas": {area: len(found) for area, found in sorted(shown.areas.items())},
        "varies": [
            {"check": one.check, "facts": one.varies}
            for one in operation.every_item(shown)
            if one.varies
        ],
        "items": None if items is None else [_with_check(one) for one in items],
    }
    if items is None:
        session.output.result(data, lambda: _overview(session.output, shown, file))
    elif len(items) == 1:
        session.output.result(data, lambda: _single(session.output, items[0]))
    else:
        session.output.result(data, lambda: _several(session.output, items))


def _with_check(one: Item | Task) -> dict[str, Any]:
    return {"check": one.check, **vars(one)}


def _overview(output: Output, shown: Manifest, file: Path) -> None:
    from devvm.operations.production import manifests as operation

    count = sum(len(items) for items in shown.areas.values())
    rows = [
        ("captured", shown.captured.isoformat() if shown.captured else "by hand"),
        ("hosts", ", ".join(shown.hosts) or "unknown"),
    ]
    rows += [("only if", ", ".join(shown.only_if))] if shown.only_if else []
    rows += [("unless", ", ".join(shown.unless))] if shown.unless else []
    output.facts(str(file), rows)
    output.line()
    output.table(
        ("AREA", "ITEMS"),
        [(area, str(len(items))) for area, items in sorted(shown.areas.items())],
    )
    output.line()
    varies = [one for one in operation.every_item(shown) if one.varies]
    if varies:
        output.line("These differ from host to host, and are not compared:")
        for one in varies:
            output.line(f"  {one.check}: {', '.join(one.varies)}")
        output.line()
    output.line(
        f"{formatting.plural(count, 'item')} in {formatting.plural(len(shown.areas), 'area')}"
    )


def _single(output: Output, one: Item) -> None:
    from devvm.parity.differences.text import is_text

    facts = one.facts or {}
    texts = {name: str(value) for name, value in sorted(facts.items()) if is_text(value)}
    rows: list[tuple[str, str]] = []
    for name, value in sorted(facts.items()):
        if name not in texts:
            lines = _lines(value)
            rows += [(name, lines[0]), *(("", line) for line in lines[1:])]
    if one.facts is None and not one.varies:
        rows.append(("", "does not exist"))
    if one.varies:
        rows.append(("varies", ", ".join(one.varies)))
    output.facts(one.check, rows)
    for name, text in texts.items():
        output.line()
        output.line(f"{name}:")
        output.line(text.removesuffix("\n"))


def _lines(value: object) -> list[str]:
    """The lines of a value: one per entry of a list or mapping."""
    if isinstance(value, list):
        return [str(one) for one in value] or ["none"]
    if isinstance(value, dict):
        return [f"{key} = {one}" for key, one in value.items()] or ["none"]
    if isinstance(value, bool) or value is None:
        return [{True: "yes", False: "no", None: "unknown"}[value]]
    return [str(value)] if str(value).strip() else [repr(str(value))]


def _several(output: Output, items: Sequence[Item]) -> None:
    from devvm.parity.differences.text import facts_in_a_line

    rows = []
    for one in items:
        parts = [facts_in_a_line(one.facts)] if one.facts is not None else []
        if one.varies:
            parts.append(f"varies: {', '.join(one.varies)}")
        rows.append((one.check, "; ".join(parts) or "does not exist"))
    output.table(("CHECK", "FACTS"), rows)


def diff(
    context: typer.Context,
    a: Annotated[
        Path, typer.Argument(metavar="A", show_default=False, help="A manifest.")
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", show_default=False, help="Another manifest.")
    ],
    json: options.Json = False,
) -> None:  # fmt: skip
    """Compare two manifests item by item; what is only in B counts as added.

    Exits with 3 if they differ. Ignores the day and the hosts of a capture.
    """
    from devvm.operations.production import manifests as operation
    from devvm.parity.differences.diff import between

    session = Session.of(context)
    old, new = operation.read(a), operation.read(b)
    found = between(old, new)
    data = {
        "a": a,
        "b": b,
        "equal": not found,
        "changes": [
            {
                "check": one.check,
                "area": one.area,
                "item": one.item,
                "change": one.kind,
                "old": one.old,
                "new": one.new,
                "diff": one.diff,
            }
            for one in found.changes
        ],
        "varies": [
            {"check": one.check, "added": one.added, "removed": one.removed}
            for one in found.variations
        ],
        "areas": found.areas,
        "conditions": {
            name: {"old": was, "new": now} for name, (was, now) in found.conditions.items()
        },
    }
    session.output.result(data, lambda: _differences(session.output, found))
    if found:
        raise typer.Exit(ExitCode.DIFFERS)


def _differences(output: Output, found: Differences) -> None:
    if not found:
        output.line("No differences")
        return
    for name, (was, now) in found.conditions.items():
        output.line(f"{name}: {', '.join(was) or 'none'} -> {', '.join(now) or 'none'}")
    areas = {*found.areas, *(one.area for one in found.changes)}
    for area in sorted(areas | {one.area for one in found.variations}):
        changes = [one for one in found.changes if one.area == area]
        kind = found.areas.get(area)
        total = formatting.plural(len(changes), "item")
        output.line(f"{area}: {total}" + (f", the area is {kind}" if kind else ""))
        for change in changes:
            output.line(f"  {change.check}: {change.words()}")
            _indented(output, change.diff, "    ")
        for one in found.variations:
            if one.area == area:
                output.line(f"  {one.check}: {one.words()}")
        output.line()
    kinds = [str(one.kind) for one in found.changes]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("added", "removed", "changed")]
    output.line(f"{formatting.plural(len(kinds), 'item')}: {', '.join(counts)}")


def _indented(output: Output, text: str | None, by: str) -> None:
    for line in text.split("\n") if text else ():
        output.line(f"{by}{line}")


def lint(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", show_default=False,
            help="A manifest or layer, or a folder such as production/; defaults to the stack's.",
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Sort what is out of order, as a capture does."),
    ] = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Check a manifest: its form and order, secrets in it, and what looks wrong in production.

    For a folder: the manifest, its layers, and patterns in roles.yml that match nothing. Exits
    with 1 if there are errors; warnings are for people to judge.
    """
    from devvm import wiring
    from devvm.operations.production import manifests as operation

    session = Session.of(context)
    path = file or wiring.production(session.config())
    files, found = operation.lint(path, fix=fix)
    counts = {
        severity: sum(one.finding.severity == severity for one in found)
        for severity in ("error", "warning")
    }
    data = {
        "files": files,
        "good": not counts["error"],
        "errors": counts["error"],
        "warnings": counts["warning"],
        "findings": [
            {"file": one.file, **vars(one.finding), "check": one.finding.check or None}
            for one in found
        ],
    }
    session.output.result(data, lambda: _findings(session.output, files, found, counts))
    if counts["error"]:
        raise typer.Exit(ExitCode.FAILED)


def _findings(
    output: Output, files: Sequence[Path], found: Sequence[FileFinding], counts: dict[str, int]
) -> None:
    for one in found:
        finding = one.finding
        place = f"{one.file}:{finding.line}" if finding.line else str(one.file)
        check = f"{finding.check}: " if finding.check else ""
        output.line(f"{place}: {finding.severity}: {check}{finding.message} [{finding.rule}]")
    told = " and ".join(formatting.plural(count, name) for name, count in counts.items() if count)
    where = str(files[0]) if len(files) == 1 else formatting.plural(len(files), "file")
    output.line(f"{where}: {told or 'no problems'}")


def propose(
    context: typer.Context,
    new: Annotated[
        Path,
        typer.Argument(
            metavar="NEW", show_default=False,
            help="The manifest of what production is now, from a new capture.",
        ),
    ],
    old: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="OLD", show_default=False,
            help="The manifest that the roles match; defaults to the stack's own.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """List what must change in the roles to match the manifest NEW, role by role.

    Leaves out what comes with a package that changes anyway, and what varies from host to host.
    Changes nothing.
    """
    from devvm import wiring
    from devvm.operations.production import manifests as operation

    session = Session.of(context)
    config = session.config()
    production = wiring.production(config)
    base = old or production / operation.MANIFEST
    found = operation.proposal(base, new, production, wiring.stack(config).root / "roles")
    data = {
        "from": base,
        "to": new,
        "tasks": [_with_check(one) for one in found.tasks],
        "notes": found.notes,
    }
    session.output.result(data, lambda: _proposal(session.output, found))


def _proposal(output: Output, found: Proposal) -> None:
    by_role = found.by_role()
    for role, tasks in by_role.items():
        output.line(f"{role}: {formatting.plural(len(tasks), 'change')}")
        for task in tasks:
            output.line(f"  {task.words()}")
            _indented(output, task.diff, "      ")
        output.line()
    for note in found.notes:
        output.line(note[0].upper() + note[1:])
    if by_role:
        roles = formatting.plural(len(by_role), "role")
        output.line(f"{formatting.plural(len(found.tasks), 'change')} in {roles}")
    else:
        output.line("Nothing has to change in the roles.")
