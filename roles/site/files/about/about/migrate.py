"""Bring the database to the schema that this code needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from about import people
from about.revision import ROOT

LOCK = "about.migrate"
LOCK_SECONDS = 120


class MigrationError(Exception):
    """The migration could not be started; the text says why."""


def migrate(engine: sa.engine.Engine) -> dict[str, Any]:
    """Upgrade to the newest revision; one process at a time, the others wait.

    A database at a revision that this code does not know, which is what going
    back to an older release leaves behind, is left alone: ``ahead`` is then true.
    """
    with engine.connect() as connection, _locked(connection):
        before = people.schema_revision(connection)
        if before == people.SCHEMA_REVISION:
            return _result(before, before)
        # Imported here: on most runs there is nothing to do, and Alembic is slow to load.
        from alembic import command
        from alembic.config import Config as AlembicConfig
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        alembic = AlembicConfig()
        alembic.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
        if before is not None:
            try:
                ScriptDirectory.from_config(alembic).get_revision(before)
            except CommandError:
                return _result(before, before, ahead=True)
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
        return _result(before, people.schema_revision(connection))


def _result(before: str | None, after: str | None, ahead: bool = False) -> dict[str, Any]:
    return {"changed": before != after, "from": before, "to": after, "ahead": ahead}


@contextlib.contextmanager
def _locked(connection: sa.engine.Connection) -> Iterator[None]:
    """MariaDB's named lock: it is given back even when this process is killed."""
    got = connection.execute(
        sa.text("SELECT GET_LOCK(:name, :seconds)"), {"name": LOCK, "seconds": LOCK_SECONDS}
    ).scalar()
    if got != 1:
        raise MigrationError(f"another migration has been running for {LOCK_SECONDS} seconds")
    try:
        yield
    finally:
        connection.execute(sa.text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
