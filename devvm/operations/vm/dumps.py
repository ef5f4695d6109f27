"""`db`: export a database's data to a file, import it from one, open a shell of the database.

An import is undone if it fails or is killed: what the database had before is exported first, to a
file in the VM's folder. Those of the last imports are kept.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devvm.domain.errors import DevvmError, ExistsError, NotFoundError, UsageError
from devvm.operations.core import journal, naming, own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import database as guest
from devvm.operations.guest import ssh
from devvm.operations.provision import provision
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services
from devvm.stack.description import Database, Description
from devvm.system.state import whole_file

Verb = Literal["export", "import", "shell"]

#: How the names of files end that have what was in a database before an import.
_SAVED = "-before.sql.gz"
#: How many of them are kept for each database.
_KEPT = 3


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of `export`.

    Attributes:
        database: The database's name.
        file: The file with its data; None if it went to a descriptor.
        size_bytes: The file's size; None as above.
    """

    database: str
    file: Path | None
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The result of `import_from`.

    Attributes:
        database: The database's name.
        sanitized: Whether personal data was taken out.
        saved: A file with the data that the database had before.
    """

    database: str
    sanitized: bool
    saved: Path


def choose(services: Services, name: str, wanted: str | None, verb: Verb) -> Database:
    """The database of a VM that a command is for; without a name, the only one.

    Raises:
        NotFoundError: there is no such VM, or no such database in its stack.
        UsageError: there are several, or the stack does not say how to do this.
        OperationError: the VM is not running.
    """
    machine = Machine(services, name)
    lifecycle.running(machine)
    return _choose(machine, _stack(machine), wanted, verb)


def export(services: Services, name: str, wanted: str | None, to: Path | int, run: Run) -> Exported:
    """Write all data of a database to a new file, or to an open descriptor.

    Raises:
        ExistsError: there is a file of this name.
        NotFoundError: there is no such VM or database.
        UsageError: the stack does not say how to export it.
        LockedError: another command is changing the VM.
        OperationError: the VM is not running, or the export failed; there is no file then.
    """
    machine = Machine(services, name)
    if isinstance(to, Path) and to.exists():
        raise ExistsError(
            f"{to} exists already", resolution=f"use another name, or remove it first: rm {to}"
        )
    # An import that is unfinished may have left personal data: it is undone first.
    with transaction.changing(machine, run):
        lifecycle.running(machine)
        database = _choose(machine, _stack(machine), wanted, "export")
        target = ssh.target(machine, login="vagrant")
        with run.phase("export", f"Exporting {database.name}"):
            if isinstance(to, int):
                guest.export(services, target, database, to, zipped=False)
                return Exported(database=database.name, file=None, size_bytes=None)
            with whole_file(to) as file:
                guest.export(services, target, database, file, zipped=is_zipped(to))
    return Exported(database=database.name, file=to, size_bytes=to.stat().st_size)


def import_from(
    services: Services,
    name: str,
    wanted: str | None,
    file: Path | int,
    run: Run,
    *,
    sanitize: bool = True,
) -> Imported:
    """Replace all data of a database by what a file has.

    The applications are stopped meanwhile; personal data is taken out before they start again, if
    the stack has a program for it. Then they migrate the data to their code.

    Args:
        services: The adapters to use.
        name: The VM.
        wanted: The database; None for the only one.
        file: A file, or an open descriptor.
        run: Reports the phases.
        sanitize: Whether to take personal data out.

    Raises:
        NotFoundError: there is no such VM or database.
        UsageError: the stack does not say how to import it.
        LockedError: another command is changing the VM.
        OperationError: the VM is not running, or a step failed; the database is as it was.
    """
    machine, token = Machine(services, name), naming.new_token()
    with transaction.changing(machine, run), provision.recorded(machine, run):
        lifecycle.running(machine)
        stack = _stack(machine)
        database = _choose(machine, stack, wanted, "import")
        target = ssh.target(machine, login="vagrant")
        saved, clean = _saved(machine, database, token), sanitize and database.sanitize is not None
        with transaction.begin(machine, journal.IMPORT, run, token=token, database=database.name):
            with run.phase("save", f"Saving what is in {database.name}"), whole_file(saved) as new:
                guest.export(services, target, database, new, zipped=True)
            guest.stop_applications(services, target, stack)
            with run.phase("import", f"Importing into {database.name}"):
                zipped = isinstance(file, Path) and is_zipped(file)
                guest.import_from(services, target, database, file, zipped=zipped)
            if clean:
                with run.phase("sanitize", "Taking personal data out"):
                    guest.sanitize(services, target, database)
            with run.phase("migrate", "Starting the applications on it"):
                guest.migrate(services, target, stack)
                guest.start_applications(services, target, stack)
        for older in _all_saved(machine, database)[_KEPT:]:
            older.unlink(missing_ok=True)
    return Imported(database=database.name, sanitized=clean, saved=saved)


def end(begun: Begun) -> Outcome:
    """Import what the database had before.

    If the VM can't do that now, the file stays, and a note says what to type: nothing else needs
    the data to start, stop, rebuild or destroy the VM.
    """
    machine, services = begun.machine, begun.machine.services
    saved = next(machine.folder.glob(f"*-{begun.token}{_SAVED}"), None)
    try:
        lifecycle.running(machine)
        stack, target = _stack(machine), ssh.target(machine, login="vagrant")
        if saved is not None:
            database = _choose(machine, stack, begun.journal["database"], "import")
            guest.stop_applications(services, target, stack)
            with begun.run.phase("undo", f"Putting back what was in {database.name}"):
                guest.import_from(services, target, database, saved, zipped=True)
        guest.start_applications(services, target, stack)
    except (DevvmError, OSError) as error:
        if saved is None:  # nothing was imported yet
            return "undone"
        begun.run.note(
            f"The data of {begun.journal['database']} in {machine} may be incomplete, or have "
            f"personal data in it: what was there before could not be put back ({error}). It is "
            f"in {saved}. Next: devvm start {machine}; devvm db import {machine} {saved} "
            f"--database {begun.journal['database']} --no-sanitize"
        )
        return "left unfinished"
    if saved is not None:
        saved.unlink(missing_ok=True)
    return "undone"


def is_zipped(file: Path) -> bool:
    """Whether a file is compressed, by its name."""
    return file.suffix == ".gz"


def shell(services: Services, name: str, wanted: str | None) -> int:
    """Open a database's shell on this terminal; return its exit code.

    Raises:
        NotFoundError: there is no such VM or database.
        UsageError: the stack does not say how.
        OperationError: the VM is not running.
    """
    machine = Machine(services, name)
    lifecycle.running(machine)
    database = _choose(machine, _stack(machine), wanted, "shell")
    assert database.shell is not None
    target = ssh.target(machine, login="vagrant")
    return services.shell.interactive(target, guest.command(database.shell))


def _saved(machine: Machine, database: Database, token: str) -> Path:
    return machine.folder / f"{_slug(database)}-{token}{_SAVED}"


def _all_saved(machine: Machine, database: Database) -> list[Path]:
    """What a database had before imports, newest first."""
    found = machine.folder.glob(f"{_slug(database)}-*{_SAVED}")
    return sorted(found, key=lambda file: file.stat().st_mtime_ns, reverse=True)


def _slug(database: Database) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in database.name.lower())


def _stack(machine: Machine) -> Description:
    return own_stack.of(machine.services, machine.require().known.release).description()


def _choose(machine: Machine, stack: Description, wanted: str | None, verb: Verb) -> Database:
    able = [one for one in stack.databases if _program(one, verb)]
    if wanted is None and len(able) == 1:
        return able[0]
    known = {one.name.casefold(): one for one in stack.databases}
    if wanted is None:
        if able:
            raise UsageError(
                f"which database? {machine} has {' and '.join(one.name for one in able)}",
                resolution=f"add, for example: --database {able[0].name}",
            )
        raise _cannot(machine, "any database", verb)
    found = known.get(wanted.casefold())
    if found is None:
        close = difflib.get_close_matches(wanted.casefold(), known, n=1)
        names = ", ".join(one.name for one in stack.databases) or "none"
        raise NotFoundError(
            f"the stack of {machine} has no database {wanted}",
            details=f"did you mean {known[close[0]].name}?" if close else f"it has: {names}",
        )
    if not _program(found, verb):
        raise _cannot(machine, found.name, verb)
    return found


def _program(database: Database, verb: Verb) -> object:
    return {"export": database.export, "import": database.import_, "shell": database.shell}[verb]


def _cannot(machine: Machine, what: str, verb: Verb) -> UsageError:
    how = {"export": "how to export", "import": "how to import into", "shell": "the shell of"}[verb]
    return UsageError(
        f"the stack of {machine} doesn't say {how} {what}",
        details=f"that is the key `{verb}` of a database in stack.yml",
        resolution=f"docs/stacks.md; if a newer release has it: devvm update {machine}",
    )
