"""Appends to a list in a YAML file that people edit; keeps its content, comments and order."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from io import StringIO

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_REMARK = r"[ \t]*(?:#[^\n]*)?\n"
#: What precedes the list; ruamel.yaml doesn't keep comments there.
_HEAD = re.compile(rf"(?:{_REMARK}|---{_REMARK})*")
_TAIL = re.compile(rf"^\.\.\.{_REMARK}(?:{_REMARK})*\Z", re.MULTILINE)
_FIRST_DASH = re.compile(r"( *)-( +)")


def append(text: str, entry: Mapping[str, object]) -> str:
    """The text of a list with one more entry; starts a list if there is none.

    Only strings that YAML 1.1 and 1.2 both read as strings are unquoted; `yes`, for one, is quoted.

    Args:
        text: One document, which `yaml.safe_load` reads as a list or as empty.
        entry: The entry; plain types only.

    Raises:
        ValueError: the text can't be rewritten faithfully (it has a duplicate key).
    """
    if text and not text.endswith("\n"):
        text += "\n"
    head = _HEAD.match(text)
    begin = head.end() if head else 0
    tail = _TAIL.search(text, begin)
    end = tail.start() if tail else len(text)
    return text[:begin] + _appended(text[begin:end], entry) + text[end:]


def _appended(body: str, entry: Mapping[str, object]) -> str:
    added = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=sys.maxsize)
    if not yaml.safe_load(body):  # empty, `[]` or `null`: every # begins a comment
        comments = (line[line.index("#") :] for line in body.splitlines() if "#" in line)
        return "".join(f"{comment}\n" for comment in comments) + added
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = sys.maxsize
    if dash := _FIRST_DASH.match(body):
        offset, space = map(len, dash.groups())
        editor.indent(sequence=offset + 1 + space, offset=offset)
    try:
        entries = editor.load(body)
    except YAMLError as error:
        raise ValueError(str(error)) from None
    entries.extend(editor.load(added))
    written = StringIO()
    editor.dump(entries, written)
    return written.getvalue()
