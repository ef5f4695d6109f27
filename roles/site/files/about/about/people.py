"""People: the table, and every query on it.

SQLAlchemy's Core without its ORM: one table needs no unit of work, and leaving
the ORM out makes each process start faster.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable

import sqlalchemy as sa

from about.config import Config
from about.revision import ROOT

#: The schema that this code needs: the newest file in ``migrations/versions``.
#: Kept here so that a health check needs no Alembic; a test compares the two.
SCHEMA_REVISION = "0001"

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
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_unicode_ci",
)


class LoginTaken(Exception):
    """Somebody else has this login."""


@dataclasses.dataclass(frozen=True)
class Person:
    login: str
    name: str
    title: str
    bio: str
    photo: str | None = None


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


def find(engine: sa.engine.Engine, login: str) -> Person | None:
    with engine.connect() as connection:
        row = connection.execute(_select().where(people.c.login == login)).first()
    return Person(**row._mapping) if row else None


def add(engine: sa.engine.Engine, person: Person) -> None:
    """Raises :class:`LoginTaken`."""
    now = _now()
    values = dataclasses.asdict(person) | {"created_at": now, "updated_at": now}
    try:
        with engine.begin() as connection:
            connection.execute(people.insert().values(**values))
    except sa.exc.IntegrityError as error:
        raise LoginTaken(person.login) from error


def change(engine: sa.engine.Engine, person: Person) -> None:
    """Replace what is known about ``person.login``, which itself never changes."""
    values = dataclasses.asdict(person) | {"updated_at": _now()}
    del values["login"]
    with engine.begin() as connection:
        connection.execute(people.update().where(people.c.login == person.login).values(**values))


def remove(engine: sa.engine.Engine, login: str) -> None:
    with engine.begin() as connection:
        connection.execute(people.delete().where(people.c.login == login))


def add_all_if_none(engine: sa.engine.Engine, newcomers: Iterable[Person]) -> int:
    """Fill an empty table, in one transaction; do nothing to one with people in it."""
    now = _now()
    with engine.begin() as connection:
        if connection.execute(sa.select(sa.func.count()).select_from(people)).scalar_one():
            return 0
        rows = [
            dataclasses.asdict(person) | {"created_at": now, "updated_at": now}
            for person in newcomers
        ]
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


def _select() -> sa.sql.Select:
    return sa.select(people.c.login, people.c.name, people.c.title, people.c.bio, people.c.photo)


def _now() -> datetime.datetime:
    """UTC without a zone, to the second: what MariaDB keeps."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
