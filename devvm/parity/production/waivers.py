"""Waivers: differences from production that somebody is responsible for, until a certain day.

A waiver is a decision of the platform team, reviewed like code. One that has expired, or that
matches no check, is itself a failure, so that no difference stays allowed by neglect.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

Text = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]


class WaiverError(Exception):
    """A file of waivers is invalid; the message names the file, the key and the reason."""


class Waiver(BaseModel):
    """A difference that is wanted, or tolerated for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Text = Field(description="name of a check, or a pattern as in a shell")
    machines: tuple[Text, ...] = Field(
        ("*",), min_length=1, description="names or patterns of names; the domain may be left out"
    )
    reason: Text = Field(description="why; for people")
    owner: Text = Field(description="who is responsible for it")
    until: datetime.date = Field(description="last day that it is valid")

    def covers(self, check: str, machine: str) -> bool:
        """Whether it applies to this check on the machine with this full name."""
        return self.matches(check) and self.concerns(machine)

    def matches(self, check: str) -> bool:
        """Whether it applies to the check of this name."""
        return fnmatchcase(check, self.check)

    def concerns(self, machine: str) -> bool:
        """Whether it applies to the machine with this full name."""
        names = (machine, machine.partition(".")[0])
        return any(fnmatchcase(name, one) for name in names for one in self.machines)

    def expired(self, today: datetime.date) -> bool:
        """Whether its last day is past."""
        return today > self.until

    def words(self) -> str:
        """Who allows the difference, until when and why."""
        return f"waived until {self.until} by {self.owner}: {self.reason}"


_FORM = TypeAdapter(tuple[Waiver, ...])


def load(file: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers; it may consist of comments only.

    Raises:
        WaiverError: it can't be read, is not YAML or has the wrong format.
    """
    try:
        return parse(file.read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        raise WaiverError(f"{file}: {error}") from None


def parse(text: str, file: Path) -> tuple[Waiver, ...]:
    """Parse a file of waivers.

    Raises:
        WaiverError: it is not YAML or has the wrong format.
    """
    try:
        return _FORM.validate_python(yaml.safe_load(text) or ())
    except yaml.YAMLError as error:
        raise WaiverError(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise WaiverError(f"{file}: {key or 'the file'}: {first['msg']}") from None


def find(
    waivers: Iterable[Waiver], check: str, machine: str, today: datetime.date
) -> Waiver | None:
    """The waiver that allows a check to fail on a machine today; None if there is none."""
    return next((w for w in waivers if w.covers(check, machine) and not w.expired(today)), None)
