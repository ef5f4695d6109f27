"""`db ...`: a VM's databases: their data in files, and their shells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from devvm.cli import options, panels
from devvm.cli.confirm import confirm
from devvm.cli.session import Session
from devvm.domain.errors import NotFoundError, UsageError

Database = Annotated[
    str | None,
    typer.Option(
        "--database", "-d", metavar="DB", show_default=False,
        help="The database, as stack.yml names it; needed if there are several.",
    ),
]  # fmt: skip

#: Stands for standard input, or output.
_STREAM = "-"
#: Ends of names of files that are compressed with something else than gzip.
_OTHER_COMPRESSION = {".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".lz4": "lz4"}
_GZIP = b"\x1f\x8b"


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    app = panels.group(
        parent, "db", "Export, import and query a VM's databases.", panels.INSIDE
    )  # fmt: skip
    app.command(epilog="Example:  devvm db export dev1 dump.sql.gz")(export)
    app.command("import", epilog="Example:  devvm db import dev1 dump.sql.gz")(import_from)
    app.command(epilog="Example:  devvm db shell dev1")(shell)


def export(
    context: typer.Context,
    name: options.RequiredName,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", show_default=False,
            help="A new file, compressed if its name ends with .gz; - is standard output.",
        ),
    ],
    database: Database = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Write all data of a VM's database to a file that only you can read."""
    from devvm.operations.vm import dumps

    session = Session.of(context)
    vm_name = session.vm_name(name)
    to: Path | int = sys.stdout.fileno() if file == _STREAM else _named(file, "export", vm_name)
    if isinstance(to, int) and session.output.json:
        raise UsageError(
            "standard output can't have both the data and a result in JSON",
            resolution=f"devvm db export {vm_name} FILE --json",
        )
    if isinstance(to, Path):
        options.refuse_unwritable(to, to.absolute().parent)
    run = session.run(f"db export {vm_name}")
    done = dumps.export(session.services(), vm_name, database, to, run)
    if isinstance(to, int):
        return
    session.output.result(
        {
            "name": vm_name,
            "database": done.database,
            "file": done.file,
            "size_bytes": done.size_bytes,
            "run": run.record("done"),
        },
        lambda: session.output.line(f"The data of {done.database} in {vm_name} is in {file}"),
    )


def import_from(
    context: typer.Context,
    name: options.RequiredName,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", show_default=False,
            help="A file that `devvm db export`, or the database's own tool, has written; unpacked "
            "if its name ends with .gz; - is standard input.",
        ),
    ],
    database: Database = None,
    no_sanitize: Annotated[
        bool,
        typer.Option("--no-sanitize", help="Leave personal data in, as for the VM's own data."),
    ] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Replace all data of a VM's database by what is in a file.

    The applications are stopped meanwhile. If the stack has a program that takes personal data out,
    it runs before they start again. If anything fails, the database is as it was.
    """
    from devvm.operations.vm import dumps

    session = Session.of(context)
    vm_name = session.vm_name(name)
    source: Path | int = sys.stdin.fileno() if file == _STREAM else _readable(file, vm_name)
    services = session.services()
    chosen = dumps.choose(services, vm_name, database, "import")  # don't ask about what can't be
    if not yes:
        again = f"devvm db import {vm_name} {file}"
        again += f" --database {database}" if database else ""
        confirm(
            session,
            f"This replaces all data of {chosen.name} in {vm_name}, which is saved first.",
            f"{again}{' --no-sanitize' if no_sanitize else ''} --yes",
        )
    run = session.run(f"db import {vm_name}")
    done = dumps.import_from(
        services, vm_name, chosen.name, source, run, sanitize=not no_sanitize
    )  # fmt: skip

    def show() -> None:
        clean = ", without personal data" if done.sanitized else ""
        session.output.line(f"{done.database} in {vm_name} has the data of {file}{clean}")
        session.output.note(
            f"To go back to what was in it: devvm db import {vm_name} {done.saved} --database "
            f"{done.database} --no-sanitize"
        )

    session.output.result(
        {
            "name": vm_name,
            "database": done.database,
            "sanitized": done.sanitized,
            "saved": done.saved,
            "run": run.record("done"),
        },
        show,
    )


def shell(context: typer.Context, name: options.Name = None, database: Database = None) -> None:
    """Open the shell of a VM's database. Exits with the shell's exit code."""
    from devvm.operations.vm import dumps

    session = Session.of(context)
    vm_name = session.vm_name(name)
    raise typer.Exit(dumps.shell(session.services(), vm_name, database))


def _named(file: str, verb: str, vm_name: str) -> Path:
    """The file of this name.

    Raises:
        UsageError: devvm does not know its compression.
    """
    path = Path(file)
    program = _OTHER_COMPRESSION.get(path.suffix)
    if program:
        piped = {
            "export": f"devvm db export {vm_name} - | {program} >{file}",
            "import": f"{program} -dc {file} | devvm db import {vm_name} - --yes",
        }
        raise UsageError(
            f"{file}: devvm compresses with gzip only", resolution=f"use .gz, or: {piped[verb]}"
        )
    return path


def _readable(name: str, vm_name: str) -> Path:
    """The file of this name.

    Raises:
        UsageError: it can't be read, or is not what its name says.
    """
    file = _named(name, "import", vm_name)
    try:
        with file.open("rb") as opened:
            first = opened.read(len(_GZIP))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None
    except OSError as error:
        raise UsageError(f"{file} can't be read", details=error.strerror) from None
    if (file.suffix == ".gz") != (first == _GZIP):
        what = "is not" if file.suffix == ".gz" else "is"
        raise UsageError(
            f"{file} {what} compressed with gzip", resolution="give it a name that says what it is"
        )
    return file
