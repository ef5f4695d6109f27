"""Which roles a stack's playbook applies, and which of them can be applied on their own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from devvm.domain.release import role_yaml

#: The stack's list of roles.
SITE = "site.yml"

_IMPORT = ("import_playbook", "ansible.builtin.import_playbook")
_ROLE = ("import_role", "ansible.builtin.import_role")
_INCLUDE = ("include_role", "ansible.builtin.include_role")
_TASKS = ("pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always")


def of(playbooks: Mapping[str, bytes], name: str = SITE) -> dict[str, bool]:
    """The roles that a playbook applies, in its order.

    Roles that other roles bring, as dependencies or by including them, are not among them.

    Args:
        playbooks: The content of playbooks, by their paths.
        name: The playbook's path; those that it imports are followed.

    Returns:
        By role: whether it is tagged with its own name wherever it is applied, so that this tag
        applies all of it and no other role.
    """
    found: dict[str, bool] = {}
    tagged: dict[str, set[str]] = {}
    for role, tags in _playbook(playbooks, name, frozenset(), frozenset()):
        found[role] = found.get(role, True) and role in tags
        for tag in tags:
            tagged.setdefault(tag, set()).add(role)
    return {role: alone and tagged[role] == {role} for role, alone in found.items()}


_Applied = Iterator[tuple[str, frozenset[str]]]


def _playbook(
    playbooks: Mapping[str, bytes], name: str, tags: frozenset[str], within: frozenset[str]
) -> _Applied:
    for play in _list(role_yaml.read(playbooks.get(name, b""))):
        if not isinstance(play, dict):
            continue
        inherited = tags | _tags(play)
        imported = _value(play, _IMPORT)
        if isinstance(imported, str):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))
            if path not in within:  # a playbook that imports itself is Ansible's to refuse
                yield from _playbook(playbooks, path, inherited, within | {name})
        else:
            yield from _play(play, inherited)


def _play(play: Mapping[str, Any], tags: frozenset[str]) -> _Applied:
    for entry in _list(play.get("roles")):
        if isinstance(entry, str):
            yield entry, tags
        elif isinstance(entry, dict):
            role = entry.get("role") or entry.get("name")
            if isinstance(role, str):
                yield role, tags | _tags(entry)
    for key in _TASKS:
        for task in _list(play.get(key)):
            if isinstance(task, dict):
                yield from _task(task, tags | _tags(task))


def _task(task: Mapping[str, Any], tags: frozenset[str]) -> _Applied:
    imported, included = _value(task, _ROLE), _value(task, _INCLUDE)
    if isinstance(imported, dict) and isinstance(imported.get("name"), str):
        yield imported["name"], tags
    if isinstance(included, dict) and isinstance(included.get("name"), str):
        yield included["name"], frozenset()  # tags of an include are not those of its tasks
    if any(key in task for key in _TASKS):
        yield from _play({key: task[key] for key in _TASKS if key in task}, tags)


def _tags(item: Mapping[str, Any]) -> frozenset[str]:
    tags = item.get("tags") or ()
    if isinstance(tags, str):
        tags = tags.split(",")
    return (
        frozenset(str(tag).strip() for tag in tags) if isinstance(tags, Iterable) else frozenset()
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _value(item: Mapping[str, Any], keys: Iterable[str]) -> object:
    return next((item[key] for key in keys if key in item), None)
