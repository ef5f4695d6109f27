"""What devvm's HTML pages have in common: each is whole in itself, and loads nothing.

What a page shows comes from machines that nobody vouches for. The templates escape all of it, what
can't be seen is spelled out, and the page's own policy lets no script run but its own.
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

#: Control characters, what has no width, what turns the direction of text, halves of a character.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def render(template: str, **values: object) -> str:
    """A page: HTML that is whole in itself.

    Args:
        template: Its template, which extends `page.html.j2`.
        **values: What the template asks for.
    """
    return _environment(assets.templates()).get_template(template).render(**values)


@functools.cache
def _environment(folder: Path) -> Environment:
    """How the templates of a folder are read; a template is compiled once, and when it changes."""
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
    """A text with escapes for what can't be seen in it; other values, and HTML, as they are."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], value)


def _hash(text: str) -> str:
    """A source of a Content-Security-Policy: this text and no other."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
