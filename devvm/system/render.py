"""Renders templates to text. A variable that a template uses and doesn't get is an error."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def _ruby(value: object) -> str:
    """A Ruby literal: JSON with `#` escaped, because Ruby expands `#{}` and the like."""
    return json.dumps(value, ensure_ascii=True).replace("#", "\\#")


def render(template: Path, **data: object) -> str:
    """Render a template file with `data`; `| ruby` quotes a value for a Vagrantfile.

    Raises:
        jinja2.UndefinedError: the template uses a variable that isn't in `data`.
    """
    return _environment(template.parent).get_template(template.name).render(**data)


@functools.cache
def _environment(folder: Path) -> Environment:
    """The environment of a folder's templates; it recompiles a template only if it changed."""
    from jinja2 import (  # most commands render nothing
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - text files, no HTML
    )
    environment.filters["ruby"] = _ruby
    return environment
