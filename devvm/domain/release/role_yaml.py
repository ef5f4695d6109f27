"""Reads a role's variables and tasks from YAML. What can't be parsed yields nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import yaml

from devvm.domain.release.text_changes import Substitute, changed, decode

_BLOCKS = ("block", "rescue", "always")
_PLAYS = ("pre_tasks", "tasks", "post_tasks", "handlers")
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A YAML loader that reads Ansible's own tags (`!vault`, `!unsafe`) as plain text."""


_Loader.add_multi_constructor("!", lambda loader, _, node: str(node.value))  # noqa: ARG005


def read(content: bytes) -> object:
    """Parse a YAML file. Returns an empty tuple if it is empty, None if it can't be parsed."""
    text = decode(content)
    try:
        found = None if text is None else yaml.load(text, Loader=_Loader)  # noqa: S506 - safe
        json.dumps(found, default=str)  # recursive values can't be compared
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    return () if found is None and text is not None else found


def variables(files: Mapping[str, bytes]) -> dict[str, object]:
    """A role's variables; `vars` override `defaults`."""
    found: dict[str, object] = {}
    for folder in ("defaults/", "vars/"):
        for path in sorted(files):
            content = read(files[path]) if path.startswith(folder) else None
            if isinstance(content, dict):
                found |= {str(name): value for name, value in content.items()}
    return found


def prefix(role: str) -> str:
    """What the variables of a role begin with: `php_fpm` for `php-fpm` and `acme.web.php-fpm`.

    The names of roles may have characters that those of variables can't have.
    """
    return re.sub(r"\W", "_", role.rpartition(".")[2])


def packages(files: Mapping[str, bytes], role: str) -> frozenset[str]:
    """The packages that a role names."""
    declared = variables(files).get(f"{prefix(role)}_packages")
    return frozenset(str(name) for name in declared) if isinstance(declared, list) else frozenset()


def substitute(values: Mapping[str, object]) -> Substitute:
    """A function that replaces plain variables in a template's line by their values."""

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        plain = isinstance(found, str | int | float) and "{{" not in str(found)
        return _scalar(found) if plain else match[0]

    return lambda line: _VARIABLE.sub(value, line)


def variable_changes(
    old: Mapping[str, object], new: Mapping[str, object], role: str
) -> Iterator[str]:
    """Changed variables, one phrase each; the role's prefix is left out of their names."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new or old[name] != new[name]:
            shown = name.removeprefix("__").removeprefix(f"{role}_")
            yield from _value_changes(shown, old.get(name), new.get(name))


def task_changes(old: object, new: object, noun: str) -> Iterator[str]:
    """Tasks added, removed and changed, by name."""
    before, after = dict(_tasks(old)), dict(_tasks(new))
    yield from (f"new {noun}: {name}" for name in after if name not in before)
    yield from (f"removed {noun}: {name}" for name in before if name not in after)
    for name in after:
        if name in before and before[name] != after[name]:
            yield f"{noun} changed: {name}"


def _tasks(content: object) -> Iterator[tuple[str, object]]:
    """The tasks of a file by name, also those in blocks and plays."""
    for task in content if isinstance(content, list) else ():
        if not isinstance(task, dict):
            continue
        inner = [key for key in (*_BLOCKS, *_PLAYS) if isinstance(task.get(key), list)]
        if inner:
            outside = {key: value for key, value in task.items() if key not in inner}
            yield str(task.get("name") or "block"), outside
            for key in inner:
                yield from _tasks(task[key])
        else:
            yield str(task.get("name") or next(iter(task), "")), task


def _value_changes(name: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*map(str, old), *map(str, new)}):
            before, after = _get(old, key), _get(new, key)
            if before != after:
                yield from _value_changes(f"{name}.{key}", before, after)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _item_changes(name, [_scalar(i) for i in old], [_scalar(i) for i in new])
    elif old is None:
        yield changed(name, "", _scalar(new))
    elif new is None:
        yield f"removed {name}"
    else:
        yield changed(name, _scalar(old), _scalar(new))


def _item_changes(name: str, old: list[str], new: list[str]) -> Iterator[str]:
    come = [item for item in new if item not in old]
    gone = [item for item in old if item not in new]
    yield from (f"{name}: {item} added" for item in come)
    yield from (f"{name}: {item} removed" for item in gone)
    if not come and not gone:
        yield f"{name} reordered"


def _get(values: Mapping[object, object], key: str) -> object:
    return next((value for name, value in values.items() if str(name) == key), None)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return " ".join(value.split()) or '""'
    return json.dumps(value, default=str, ensure_ascii=False)
