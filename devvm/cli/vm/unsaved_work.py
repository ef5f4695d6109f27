"""Shows work that a rebuild would move to the trash, and asks before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devvm.cli import formatting
from devvm.cli.session import Session
from devvm.domain.errors import UsageError

if TYPE_CHECKING:
    from devvm.operations.guest.unsaved_work import Risk
    from devvm.ports.services import Services

#: How many files to show; --json lists all.
_SHOWN = 15


def agree(session: Session, services: Services, name: str, again: str, *, yes: bool) -> Risk:
    """Look for work that is not on a VM's data disk, show it, and ask if there is any.

    Args:
        session: The session of the command.
        services: For looking into the VM.
        name: The name of the VM.
        again: The command line that does it without asking.
        yes: Don't ask.

    Raises:
        UsageError: there is nobody to ask, or the answer is no.
    """
    from devvm.operations.core.machine import Machine
    from devvm.operations.guest import unsaved_work

    session.output.note(f"Looking for work on {name} that is not on its data disk")
    found = unsaved_work.look(Machine(services, name))
    _show(session, found)
    if found.any and not yes:
        _ask(session, name, found, again)
    return found


def _show(session: Session, found: Risk) -> None:
    output = session.output
    for checkout in found.checkouts:
        counts = [
            formatting.plural(count, noun)
            for count, noun in (
                (checkout.changes, "uncommitted change"),
                (checkout.commits, "unpushed commit"),
                (checkout.stashes, "stashed change"),
            )
            if count
        ]
        where = "kept" if checkout.on_data_disk else "NOT on the data disk"
        output.item(f"{checkout.path}: {', '.join(counts)} ({where})")
    for path in found.changed[:_SHOWN]:
        output.item(f"{path}: changed since the VM was created (NOT on the data disk)")
    if len(found.changed) > _SHOWN:
        output.item(f"and {len(found.changed) - _SHOWN} more files (--json lists them)")
    if kept := found.kept_by_programs:
        files = formatting.plural(len(kept), "file")
        output.item(f"{files} that dpkg, apt and other programs maintain (--json lists them)")
    if found.unknown:
        output.note(f"Can't tell what else is not on the data disk: {found.unknown}.")
    if found.any:
        output.note("What is not on the data disk goes to the trash with the old system.")
    elif found.files:
        output.note("Nothing you would miss: all other changes are on the data disk.")
    else:
        output.note("Nothing: all work found is on the data disk, which is kept.")


def _ask(session: Session, name: str, found: Risk, again: str) -> None:
    if not session.output.can_ask:
        raise UsageError(
            f"rebuilding {name} needs confirmation: something is not on its data disk",
            details=_listed(found),
            resolution=again,
        )
    if not session.output.confirm("Rebuild?"):
        raise UsageError(f"{name} was not rebuilt", resolution=again)


def _listed(found: Risk) -> str:
    lines = [f"checkout {checkout.path}" for checkout in found.lost]
    lines += [f"file {path}" for path in found.changed[:_SHOWN]]
    if len(found.changed) > _SHOWN:
        lines.append(f"and {len(found.changed) - _SHOWN} more files")
    return "\n".join([*lines, *([found.unknown] if found.unknown else [])])
