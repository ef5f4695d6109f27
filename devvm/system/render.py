"""Model to text. A value that a template asks for and does not get is an error; writes nothing."""

from __future__ import annotations

import functools
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
    return _environment(template.parent).get_template(template.name).render(**data)


@functools.cache
def _environment(folder: Path) -> Environment:
    """How the templates of a folder are read; a template is compiled once, and when it changes."""
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
