"""`devvm stack ...`: make a stack, show the one that devvm works with, and check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devvm.cli import formatting, options, panels
from devvm.cli.session import Session
from devvm.domain.errors import ExitCode

if TYPE_CHECKING:
    from devvm.operations.stack.findings import Finding
    from devvm.operations.stack.init import Made

SUMMARY = "Make, show and check the stack that devvm works with."


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    app = panels.group(parent, "stack", SUMMARY, panels.HOST)
    app.command(epilog="Example:  devvm stack init acme-stack --from ~/ansible")(init)
    app.command(epilog="Example:  devvm stack show")(show)
    app.command(epilog="Example:  devvm stack check")(check)


def init(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", show_default=False, help="A new or empty folder.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="REPOSITORY", show_default=False,
                     help="An Ansible repository to make it from; it stays as it is."),
    ] = None,
    playbook: Annotated[
        str | None,
        typer.Option("--playbook", metavar="FILE", show_default=False,
                     help="The repository's playbook that lists the roles of all hosts."),
    ] = None,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Make a stack: a small one that works, or one from an Ansible repository.

    From a repository, copies roles, playbooks, values and collections, declares the packages that
    the roles install, and lists what is left for you to do.
    """
    from devvm.operations.stack import init as operation

    made = operation.init(folder, source=source, playbook=playbook)
    found = made.found
    data = {
        "folder": made.folder,
        "playbook": found and found.playbook,
        "roles": found.roles if found else ("base",),
        "packages": found.packages if found else {},
        "units": found.units if found else {},
        "todo": found.left if found else [],
    }
    session = Session.of(context)
    session.output.result(data, lambda: _show_made(session, made))


def _show_made(session: Session, made: Made) -> None:
    output, found = session.output, made.found
    if found is not None:
        packages = sum(len(names) for names in found.packages.values())
        output.line(
            f"{found.playbook}: {formatting.plural(len(found.roles), 'role')}, which install "
            f"{formatting.plural(packages, 'package')}"
        )
        for role in found.roles:
            names = found.packages.get(role, [])
            output.line(f"  {role}: {', '.join(names) or 'no packages that could be read'}")
        if found.left:
            output.line("Left for you:")
        for sentence in found.left:
            output.line(f"  {sentence}")
    output.line(f"Made {made.folder}. Next: devvm --stack {made.folder} stack check")


def show(context: typer.Context, json: options.Json = False) -> None:
    """Show the stack: its folder, its hash, its roles, and what stack.yml says.

    The stack is the one given with --stack, or the one that the current folder is in, or the
    configured one (stack_dir), or the reference stack.
    """
    from devvm import wiring
    from devvm.domain.release import applied_roles

    session = Session.of(context)
    config = session.config()
    stack = wiring.stack(config)
    described, now = stack.description(), stack.look()
    declared = wiring.build_box_services(config).declarations
    data = {
        "folder": stack.root,
        "content": now.content,
        "release": now.hash,
        "roles": list(applied_roles.of(stack.playbooks())),
        "state_paths": declared.state_paths(),
        "secret_paths": declared.secret_paths(),
        "description": described.model_dump(mode="json", by_alias=True),
    }
    session.output.result(data, lambda: _show(session, data))


def _show(session: Session, data: dict[str, Any]) -> None:
    described = data["description"]
    applications = [one["name"] for one in described["applications"]]
    databases = [f"{one['name']} ({one['package']})" for one in described["databases"]]
    apt = described["apt"]
    sources = [f"Debian ({' '.join(apt['components'])})"]
    sources += [f"{one['name']} ({one['uri']})" for one in apt["repositories"]]
    session.output.facts(
        f"The stack {described['name']}",
        [
            ("Folder", str(data["folder"])),
            ("Content", data["content"]),
            ("Release", data["release"] or "not fixed: there is no packages.lock"),
            ("Roles", ", ".join(data["roles"]) or "none"),
            ("Packages", ", ".join(sources)),
            ("Groups", ", ".join(["development", *described["groups"]])),
            ("Applications", ", ".join(applications) or "none"),
            ("Databases", ", ".join(databases) or "none"),
            ("State", ", ".join(data["state_paths"])),
            ("Secrets", ", ".join(data["secret_paths"]) or "none"),
        ],
    )


def check(context: typer.Context, json: options.Json = False) -> None:
    """Find what is missing in the stack, or wrong; needs no VM and takes seconds.

    Exits with 3 if something has to be done before a box can be built.
    """
    from devvm import wiring
    from devvm.operations.stack import check as operation

    session = Session.of(context)
    config = session.config()
    stack = wiring.stack(config)
    found = operation.check(
        stack,
        wiring.build_box_services(config).declarations,
        vault_identities=config.ansible.vault_identities,
    )
    needed = sum(finding.needed for finding in found)
    data = {"folder": stack.root, "findings": [vars(finding) for finding in found]}
    session.output.result(data, lambda: _show_findings(session, found, needed))
    if needed:
        raise typer.Exit(ExitCode.DIFFERS)


def _show_findings(session: Session, found: list[Finding], needed: int) -> None:
    for finding in sorted(found, key=lambda one: not one.needed):
        session.output.line(f"{finding.file}: {finding.text}")
        session.output.line(f"  {'Next' if finding.needed else 'Better'}: {finding.next}")
    if needed:
        session.output.line(f"{formatting.plural(needed, 'thing')} to do before a box can be built")
    else:
        session.output.line("Nothing has to be done first. Next: devvm box build")
