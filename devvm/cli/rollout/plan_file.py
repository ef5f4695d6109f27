"""The plan file of a rollout: YAML, read strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from devvm.domain.errors import UsageError
from devvm.domain.rollout import plan

_EXAMPLE = "release: latest; canary: 2; waves: [10%, 50%, 100%]"
_Names = Annotated[list[str], Field(min_length=1)]


class _PlanFile(BaseModel):
    """The keys of a plan file; a missing key is like an option that isn't given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    release: str | None = None
    canary: Annotated[int, Field(ge=0, le=10_000)] | None = None
    waves: _Names | None = None
    max_failures: Annotated[int, Field(ge=0, le=10_000)] | None = None
    parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    rebuild: bool | None = None
    ask_minutes: Annotated[int, Field(ge=0, le=1440)] | None = None
    vms: _Names | None = None

    @field_validator("waves", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Convert a number of VMs to text, since YAML reads it as a number."""
        if not isinstance(value, list):
            return value
        return [str(one) if type(one) is int else one for one in value]

    @field_validator("waves")
    @classmethod
    def _shares(cls, value: list[str] | None) -> list[str] | None:
        if value is not None:
            plan.check_shares(value)
        return value


def read(path: Path) -> dict[str, Any]:
    """The keys and values of a plan file.

    Raises:
        UsageError: it can't be read, or a key or value is invalid; names the file and key.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read", details=error.strerror, resolution=f"ls -l {path}"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(
            f"{path} is not valid YAML", details=str(error), resolution=f"write it as: {_EXAMPLE}"
        ) from None
    if not isinstance(data, dict):
        raise UsageError(
            f"{path} is not a rollout plan",
            details="it has no keys",
            resolution=f"write it as: {_EXAMPLE}",
        )
    try:
        return _PlanFile.model_validate(data).model_dump(exclude_none=True)
    except ValidationError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    unknown = first["type"] in ("extra_forbidden", "invalid_key")
    own = first["type"] == "value_error"  # raised by our own validator, with its own message
    reason = first["ctx"]["error"] if own else first["msg"]
    known = f"the keys are: {', '.join(_PlanFile.model_fields)}"
    return UsageError(
        f"{path}: {key}: {'unknown key' if unknown else 'bad value'}",
        details=known if unknown else f"{reason} (it is {first['input']!r})",
        resolution="devvm rollout start --help",
    )
