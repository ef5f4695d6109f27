"""What devvm's HTML pages share: each is self-contained and loads nothing.

What a page shows comes from untrusted machines. The templates escape all of it, invisible
characters are spelled out, and the page's Content-Security-Policy allows only its own script.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from devvm.system import assets

#: Control characters, zero-width characters, marks of text direction, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def render(template: str, **values: object) -> str:
    """A page as self-contained HTML.

    Args:
        template: The name of its template, which extends `page.html.j2`.
        **values: The template's variables.
    """
    return _environment(assets.templates()).get_template(template).render(**values)


@functools.cache
def _environment(folder: Path) -> Environment:
    """The Jinja environment of a folder; compiles a template once, and again when it changes."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    environment.filters |= {"hash": _hash, "json": lambda v: json.dumps(v, ensure_ascii=False)}
    return environment


def visible(value: object) -> object:
    """A text with its invisible characters as escapes; other values, and markup, unchanged."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], value)


def _hash(text: str) -> str:
    """A Content-Security-Policy source that allows exactly this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
