"""Make everybody in the database an invented person, before a copy of it leaves production."""

from __future__ import annotations

import sqlalchemy as sa

from about.people import people

GIVEN = (
    "Ada", "Bruno", "Carmen", "Dmitri", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya",
    "Lior", "Maren", "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Sami", "Tova", "Uma", "Vito",
)  # fmt: skip
FAMILY = (
    "Albrecht", "Banda", "Castell", "Dahl", "Eklund", "Fontaine", "Garrick", "Hartley", "Ivanek",
    "Jansen", "Kowal", "Lund", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Sandoval", "Torres",
)  # fmt: skip


def sanitize(engine: sa.engine.Engine) -> int:
    """Replace everything that people have written; return how many people there are.

    In one transaction. Who a person becomes depends on the row's number only, so a second run
    changes nothing, and no photo is named any more.
    """
    with engine.begin() as connection:
        numbers = connection.execute(sa.select(people.c.id).order_by(people.c.id)).scalars().all()
        # Somebody may have the login that another one gets.
        connection.execute(people.update().values(login=sa.literal("~").concat(_text(people.c.id))))
        for number in numbers:
            connection.execute(
                people.update()
                .where(people.c.id == number)
                .values(
                    login=f"person{number}",
                    name=invented(number),
                    title="Engineer",
                    bio="An invented person.",
                    photo=None,
                    updated_by="",
                )
            )
    return len(numbers)


def invented(number: int) -> str:
    """The name of the person in a row."""
    return f"{GIVEN[number % len(GIVEN)]} {FAMILY[number % len(FAMILY)]}"


def _text(column: sa.Column) -> sa.Cast:
    return sa.cast(column, sa.String(10))
