"""A release's changelog: what it changes, in words."""

from __future__ import annotations

import re

from devvm.domain.release import package_changes, role_changes, role_yaml
from devvm.domain.release.stack import Stack, difference

#: Show at most this many variables of a file; count the rest.
_VARIABLES = 6
_COLLECTION = re.compile(r"collections/ansible_collections/(?P<of>[^/]+)/(?P<name>[^/]+)/.*")
_ENCRYPTED = "$ANSIBLE_VAULT"


def words(old: Stack, new: Stack) -> tuple[str, ...]:
    """What changed in a stack, one line each: packages, roles, playbooks, variables.

    For example `MariaDB 10.11.6 → 10.11.11`, `nginx: http2 on`. Never fails: a file that can't be
    parsed is only said to have changed.
    """
    changes = difference(old, new)
    named = frozenset[str]().union(
        *(
            role_yaml.packages(files, role)
            for stack in (old, new)
            for role, files in stack.roles.items()
        )
    )
    lines = package_changes.words(changes.packages, named)
    lines += [f"new role: {role}" for role in changes.new_roles]
    lines += [f"removed role: {role}" for role in changes.gone_roles]
    before, after = old.roles, new.roles
    moved = {change.name for change in changes.packages}
    for change in changes.roles:
        if change.role in before and change.role in after:
            lines += role_changes.words(change, before[change.role], after[change.role], moved)
    for name in changes.playbooks:
        lines += _playbook(name, old.playbooks.get(name), new.playbooks.get(name))
    for path in changes.others:
        lines += _other(path, old.others.get(path), new.others.get(path))
    return tuple(dict.fromkeys(lines))


def _playbook(name: str, old: bytes | None, new: bytes | None) -> list[str]:
    if old is None or new is None:
        return [f"new playbook: {name}" if old is None else f"removed playbook: {name}"]
    before, after = role_yaml.read(old), role_yaml.read(new)
    only_comments = before is not None and before == after
    return [f"playbook {name}: comments only" if only_comments else f"playbook {name} changed"]


def _other(path: str, old: bytes | None, new: bytes | None) -> list[str]:
    """The changes of a file outside roles and playbooks; those of a collection are one line."""
    if collection := _COLLECTION.fullmatch(path):
        return [f"collection {collection['of']}.{collection['name']} changed"]
    if old is None or new is None:
        return [f"new file: {path}" if old is None else f"removed file: {path}"]
    before, after = role_yaml.read(old), role_yaml.read(new)
    if before is not None and before == after:
        return [f"{path}: comments only"]
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [f"{path} changed"]
    hidden = {
        name for values in (before, after) for name in values if _ENCRYPTED in str(values[name])
    }
    lines = [
        f"{name} changed (encrypted)"
        for name in sorted(map(str, hidden))
        if before.get(name) != after.get(name)
    ]
    plain = [
        {str(n): v for n, v in values.items() if n not in hidden} for values in (before, after)
    ]
    lines += role_yaml.variable_changes(plain[0], plain[1], role="")
    if len(lines) > _VARIABLES + 1:  # "and 1 more" would be no shorter
        lines[_VARIABLES:] = [f"and {len(lines) - _VARIABLES} more changes"]
    return [f"{path}: {line}" for line in lines]
