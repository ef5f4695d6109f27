"""The data of a database in a VM: out of it, into it, and without personal data.

How is said by the stack, as programs of each of its databases (docs/stacks.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.vm import Target
from devvm.ports.services import Services
from devvm.stack.description import Database, Description, Program

#: Held in the VM by a program that changes data.
_LOCK = "/run/devvm-database.lock"
#: Seconds; a copy of production's data may be large.
_TIMEOUT = 24 * 3600


def command(program: Program) -> list[str]:
    """The command line that runs a stack's program in a VM, for devvm's own account there."""
    account = ["sudo", "-H", "-u", program.account, "--"]
    return [*account, "env", f"--chdir={program.chdir}", *program.argv]


def _alone(program: Program) -> list[str]:
    """The same for a program that changes data: it waits until any other has ended.

    One that a killed command has started goes on for as long as it has something to read.
    """
    return ["sudo", "flock", _LOCK, *command(program)]


def export(
    services: Services, target: Target, database: Database, to: int, *, zipped: bool
) -> None:
    """Write all data of a database to an open file.

    Raises:
        OperationError: the export failed; the file may be incomplete.
    """
    assert database.export is not None
    with _named(f"the export of {database.name} failed"):
        services.shell.transfer(
            target, command(database.export), destination=to,
            through=("gzip", "-c") if zipped else (), timeout=_TIMEOUT,
        )  # fmt: skip


def import_from(
    services: Services, target: Target, database: Database, file: Path | int, *, zipped: bool
) -> None:
    """Replace all data of a database by what a file has.

    Raises:
        OperationError: the import failed; the database may have some of the data.
    """
    assert database.import_ is not None
    with _named(f"the import into {database.name} failed"):
        services.shell.transfer(
            target, _alone(database.import_), source=file,
            through=("gzip", "-dc") if zipped else (), timeout=_TIMEOUT,
        )  # fmt: skip


def sanitize(services: Services, target: Target, database: Database) -> None:
    """Take personal data out of a database.

    Raises:
        OperationError: the stack's program failed; personal data may be left.
    """
    assert database.sanitize is not None
    _run(services, target, database.sanitize, f"{database.name} could not be sanitized")


def stop_applications(services: Services, target: Target, stack: Description) -> None:
    """Stop the applications' units, so that none works on data that is being replaced."""
    if units := _units(stack):
        services.shell.run(target, ["sudo", "systemctl", "stop", *units])


def start_applications(services: Services, target: Target, stack: Description) -> None:
    """Start the applications' units again, also those that something has started meanwhile."""
    if units := _units(stack):
        services.shell.run(target, ["sudo", "systemctl", "restart", *units])


def migrate(services: Services, target: Target, stack: Description) -> None:
    """Bring the applications' data to the deployed code.

    Raises:
        OperationError: an application's program failed.
    """
    for one in stack.applications:
        if one.migrate:
            _run(services, target, one.migrate, f"the data of {one.name} could not be migrated")


def _run(services: Services, target: Target, program: Program, failed: str) -> None:
    code, out, err = services.shell.run(target, _alone(program), check=False, timeout=_TIMEOUT)
    if code:
        lines = (err or out).strip().splitlines()[-15:]
        raise OperationError(failed, details="\n".join(lines) or f"exit code {code}")


def _units(stack: Description) -> list[str]:
    return list(dict.fromkeys(unit for one in stack.applications for unit in one.units))


@contextmanager
def _named(failed: str) -> Iterator[None]:
    """Say in an error what failed, rather than the program's name."""
    try:
        yield
    except OperationError as error:
        raise OperationError(failed, details=error.details or error.brief) from error
