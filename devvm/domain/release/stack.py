"""What a release consists of, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Release:
    """A recorded release: what is in it and what it changed.

    Attributes:
        release: Its name.
        created_at: When it was recorded; ISO 8601, UTC.
        created_by: Who recorded it.
        note: Its author's note.
        stack: The name of its stack; empty if an older devvm recorded it.
        previous: The release of the stack before it; None for the first.
        changes: What changed since then, in words, one line each.
        packages: The versions of its box's packages, by name.
        retired_at: When it was retired: VMs are no longer updated to it. None if it isn't.
    """

    release: str
    created_at: str
    created_by: str
    note: str = ""
    stack: str = ""
    previous: str | None = None
    changes: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    retired_at: str | None = None


def same_stack(one: str, other: str) -> bool:
    """Whether two names of stacks may be the same one's; an empty name is not known."""
    return one == other or not one or not other


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack's content.

    Attributes:
        files: The content of its files, by path: `roles/nginx/tasks/main.yml`,
            `group_vars/all.yml`.
        packages: The versions of its box's packages, by name.
    """

    files: Mapping[str, bytes]
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, dict[str, bytes]]:
        """The files of each role, by path within the role."""
        found: dict[str, dict[str, bytes]] = {}
        for path, content in self.files.items():
            top, _, rest = path.partition("/")
            role, slash, inside = rest.partition("/")
            if top == "roles" and slash:
                found.setdefault(role, {})[inside] = content
        return found

    @property
    def playbooks(self) -> dict[str, bytes]:
        """The playbooks and what is beside them, by path within `playbooks`."""
        return {p.removeprefix("playbooks/"): c for p, c in self.files.items()
                if p.startswith("playbooks/")}  # fmt: skip

    @property
    def others(self) -> dict[str, bytes]:
        """The files that belong to no role and are beside no playbook, by path."""
        return {p: c for p, c in self.files.items() if not p.startswith(("roles/", "playbooks/"))}


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """A package whose version changed, that was added (`old` is None) or removed (`new` is)."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class RoleChange:
    """A role that changed, and the paths of its changed files, relative to the role."""

    role: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How two stacks differ; each part is sorted by name."""

    packages: tuple[PackageChange, ...] = ()
    roles: tuple[RoleChange, ...] = ()
    new_roles: tuple[str, ...] = ()  # among `roles`
    gone_roles: tuple[str, ...] = ()  # among `roles`
    playbooks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # paths of other files: group_vars, collections ...

    @property
    def any(self) -> bool:
        """Whether there is any difference."""
        return bool(self.packages or self.roles or self.playbooks or self.others)


def difference(old: Stack, new: Stack) -> Difference:
    """How a stack differs from an earlier one."""
    before, after = old.roles, new.roles
    changes = (
        RoleChange(
            role=role,
            added=tuple(sorted(files.keys() - was.keys())),
            changed=tuple(sorted(f for f in files.keys() & was.keys() if files[f] != was[f])),
            removed=tuple(sorted(was.keys() - files.keys())),
        )
        for role in sorted(before.keys() | after.keys())
        for was, files in [(before.get(role, {}), after.get(role, {}))]
    )
    return Difference(
        packages=tuple(
            PackageChange(name=name, old=old.packages.get(name), new=new.packages.get(name))
            for name in sorted(old.packages.keys() | new.packages.keys())
            if old.packages.get(name) != new.packages.get(name)
        ),
        roles=tuple(c for c in changes if c.added or c.changed or c.removed),
        new_roles=tuple(sorted(after.keys() - before.keys())),
        gone_roles=tuple(sorted(before.keys() - after.keys())),
        playbooks=_changed(old.playbooks, new.playbooks),
        others=_changed(old.others, new.others),
    )


def _changed(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[str, ...]:
    """The paths of files that were added, changed or removed."""
    return tuple(sorted(p for p in old.keys() | new.keys() if old.get(p) != new.get(p)))
