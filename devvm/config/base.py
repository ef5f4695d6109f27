"""What the sections of the configuration share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section: unknown keys are refused, and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


OptionalPath = Annotated[Path | None, Field(strict=False)]


def absolute(value: Path | None) -> Path | None:
    """Return a path that is absolute.

    Raises:
        ValueError: it isn't.
    """
    if value is not None and not value.is_absolute():
        raise ValueError("use an absolute path")
    return value
