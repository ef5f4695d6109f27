"""Model to text. A value that a template asks for and does not get is an error; writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def _ruby(value: object) -> str:
    """A Ruby literal. JSON is Ruby, but for `#{}` and its like, which Ruby expands."""
    return json.dumps(value, ensure_ascii=True).replace("#", "\\#")


def render(template: Path, **data: object) -> str:
    """Render a template file with `data`; `| ruby` quotes a value for a Vagrantfile.

    Raises:
        jinja2.UndefinedError: the template names something that `data` lacks.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - text files, no HTML
    )
    environment.filters["ruby"] = _ruby
    return environment.get_template(template.name).render(**data)
