"""Which role is responsible for an item, and is applied again to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from devvm.parity.production.manifest import ManifestError, check_name


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    default: str
    roles: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Patterns of checks' names, by role. The first role that matches is responsible."""

    default: str = "production"
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, area: str, item: str) -> str:
        """The role responsible for an item."""
        return self.of_name(check_name(area, item))

    def of_name(self, name: str) -> str:
        """The role responsible for the item of a check."""
        for role, patterns in self.patterns.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return role
        return self.default


def load(file: Path) -> Roles:
    """Read `roles.yml`; without one, nobody has been named for any check.

    Raises:
        ManifestError: it can't be read, is not YAML or has the wrong format.
    """
    try:
        data = _File.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Roles()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{file}: {key or 'the file'}: {first['msg']}") from None
    return Roles(default=data.default, patterns=data.roles)
