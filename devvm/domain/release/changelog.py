"""A release's changelog: what it changes, in words."""

from __future__ import annotations

from devvm.domain.release import package_changes, role_changes, role_yaml
from devvm.domain.release.stack import Stack, difference


def words(old: Stack, new: Stack) -> tuple[str, ...]:
    """What changed in a stack, one line each: packages, roles, playbooks.

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
    return tuple(lines)


def _playbook(name: str, old: bytes | None, new: bytes | None) -> list[str]:
    if old is None or new is None:
        return [f"new playbook: {name}" if old is None else f"removed playbook: {name}"]
    before, after = role_yaml.read(old), role_yaml.read(new)
    only_comments = before is not None and before == after
    return [f"playbook {name}: comments only" if only_comments else f"playbook {name} changed"]
