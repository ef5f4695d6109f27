"""The one form: a person. What comes in is text from a stranger until it leaves here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from about.people import Person, Stored

LOGIN = re.compile(r"[a-z][a-z0-9._-]{0,31}")
LIMITS = {"login": 32, "name": 100, "title": 100, "bio": 2000}
REQUIRED = ("login", "name", "title")


@dataclasses.dataclass
class PersonForm:
    values: dict[str, str]
    errors: dict[str, str]
    #: The version that the form was filled from; see :class:`about.people.Stored`.
    version: str = ""

    @classmethod
    def empty(cls) -> PersonForm:
        return cls(values=dict.fromkeys(LIMITS, ""), errors={})

    @classmethod
    def of(cls, person: Stored) -> PersonForm:
        values = {field: getattr(person, field) for field in LIMITS}
        return cls(values=values, errors={}, version=person.version)

    @classmethod
    def read(cls, fields: Mapping[str, str], login: str | None = None) -> PersonForm:
        """Take the fields and judge them; ``login`` when it is fixed already."""
        values = {field: _clean(fields.get(field, ""), field == "bio") for field in LIMITS}
        if login is not None:
            values["login"] = login
        form = cls(values=values, errors={}, version=fields.get("version", ""))
        for field, limit in LIMITS.items():
            if not values[field] and (field in REQUIRED or field not in fields):
                form.errors[field] = "Please fill this in."
            elif len(values[field]) > limit:
                form.errors[field] = f"{len(values[field])} characters; {limit} at most."
        if "login" not in form.errors and not LOGIN.fullmatch(values["login"]):
            form.errors["login"] = (
                "Lower-case letters, digits, dots, dashes and underscores; a letter first."
            )
        return form

    def differing(self, person: Person) -> list[str]:
        """The fields in which the form says something else than the person."""
        return [field for field in LIMITS if self.values[field] != getattr(person, field)]

    def person(self, photo: str | None) -> Person:
        return Person(**self.values, photo=photo)


def _clean(text: str, many_lines: bool) -> str:
    """Trim; drop control characters; one line, unless many are wanted."""
    text = text.replace("\r\n", "\n")
    if not many_lines:
        text = " ".join(text.split())
    return "".join(c for c in text if c == "\n" or c.isprintable()).strip()
