"""People: the table, and every query on it.

SQLAlchemy's Core without its ORM: one table needs no unit of work, and leaving
the ORM out makes each process start faster.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from about.config import Config
from about.revision import ROOT

#: The schema that this code needs: the newest file in ``migrations/versions``.
#: Kept here so that a health check needs no Alembic; a test compares the two.
SCHEMA_REVISION = "0003"

metadata = sa.MetaData()

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("login", sa.String(32), nullable=False, unique=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("title", sa.String(100), nullable=False),
    sa.Column("bio", sa.Text, nullable=False),
    sa.Column("photo", sa.String(64), nullable=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False),
    sa.Column("version", sa.String(16), nullable=False, server_default=""),
    sa.Column("updated_by", sa.String(255), nullable=False, server_default=""),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_unicode_ci",
)


class LoginTaken(Exception):
    """Somebody else has this login."""


class Changed(Exception):
    """Somebody changed or removed this person meanwhile."""


@dataclasses.dataclass(frozen=True)
class Person:
    login: str
    name: str
    title: str
    bio: str
    photo: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored(Person):
    """A person as the database has it.

    ``version`` is a random word, new with every change. A counter would begin anew for
    somebody who is removed and added again, and an old form would match. ``updated_by`` is
    empty for the fixtures.
    """

    version: str
    updated_at: datetime.datetime
    updated_by: str


def connect(config: Config) -> sa.engine.Engine:
    """An engine; nothing is connected before the first query."""
    url = sa.engine.make_url(config.database_url)
    if config.database_password:
        url = url.set(password=config.database_password)
    return sa.create_engine(
        url,
        # The database may be restarted under us, and drops idle connections.
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=5,
        connect_args={"connect_timeout": 3, "read_timeout": 10, "write_timeout": 10},
    )


def every(engine: sa.engine.Engine, query: str = "") -> list[Person]:
    """All people by name; with a query, those who match each of its words."""
    statement = _select().order_by(people.c.name, people.c.id)
    for word in query.split():
        statement = statement.where(
            sa.or_(
                *(
                    column.contains(word, autoescape=True)
                    for column in (people.c.name, people.c.login, people.c.title, people.c.bio)
                )
            )
        )
    with engine.connect() as connection:
        return [Person(**row._mapping) for row in connection.execute(statement)]


def find(engine: sa.engine.Engine, login: str) -> Stored | None:
    more = (people.c.version, people.c.updated_at, people.c.updated_by)
    statement = _select(*more).where(people.c.login == login)
    with engine.connect() as connection:
        row = connection.execute(statement).first()
    return Stored(**row._mapping) if row else None


def add(engine: sa.engine.Engine, person: Person, by: str) -> None:
    """Raises :class:`LoginTaken`."""
    try:
        with engine.begin() as connection:
            connection.execute(people.insert().values(_new(person, by)))
    except sa.exc.IntegrityError as error:
        raise LoginTaken(person.login) from error


def change(engine: sa.engine.Engine, person: Person, version: str, by: str) -> None:
    """Replace ``version`` of ``person.login``, which itself never changes.

    Raises :class:`Changed` if that is not the version in the database.
    """
    values = dataclasses.asdict(person) | _mark(by)
    del values["login"]
    _one(engine, people.update().where(_is(person.login, version)).values(**values))


def remove(engine: sa.engine.Engine, login: str, version: str) -> None:
    """Raises :class:`Changed` as :func:`change` does."""
    _one(engine, people.delete().where(_is(login, version)))


def add_all_if_none(engine: sa.engine.Engine, newcomers: Iterable[Person]) -> int:
    """Fill an empty table, in one transaction; do nothing to one with people in it."""
    with engine.begin() as connection:
        if connection.execute(sa.select(sa.func.count()).select_from(people)).scalar_one():
            return 0
        rows = [_new(person, by="") for person in newcomers]
        if rows:
            connection.execute(people.insert(), rows)
        return len(rows)


def earlier_revisions() -> set[str]:
    """The schemas that this code knows and has left behind, by the names of their files."""
    versions = (ROOT / "migrations" / "versions").glob("*.py")
    return {path.name.partition("_")[0] for path in versions} - {SCHEMA_REVISION}


def schema_revision(connection: sa.engine.Connection) -> str | None:
    """What Alembic has written down in the database; None before the first migration."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _select(*more: sa.Column) -> sa.sql.Select:
    columns = [people.c[field.name] for field in dataclasses.fields(Person)]
    return sa.select(*columns, *more)


def _is(login: str, version: str) -> sa.sql.ColumnElement:
    return sa.and_(people.c.login == login, people.c.version == version)


def _one(engine: sa.engine.Engine, statement: sa.sql.expression.UpdateBase) -> None:
    with engine.begin() as connection:
        if connection.execute(statement).rowcount != 1:
            raise Changed


def _new(person: Person, by: str) -> dict[str, Any]:
    mark = _mark(by)
    return dataclasses.asdict(person) | mark | {"created_at": mark["updated_at"]}


def _mark(by: str) -> dict[str, Any]:
    """What every change leaves."""
    return {"updated_at": _now(), "updated_by": by, "version": secrets.token_hex(8)}


def _now() -> datetime.datetime:
    """UTC without a zone, to the second: what MariaDB keeps."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
