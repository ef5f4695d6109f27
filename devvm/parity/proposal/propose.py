"""What to change in the roles, so that the stack matches what production has become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from devvm.parity.differences.compare import Kind, Tokens, compare
from devvm.parity.production.manifest import Facts, Manifest, check_name
from devvm.parity.production.roles import Roles
from devvm.parity.proposal import tasks

#: The areas to change first in a role, in this order; the others follow by name.
_FIRST = ("package", "python", "group", "user", "file", "unit", "setting")
_DEBIANS_PYTHON = " in /usr/lib/python3/dist-packages"
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True)
class Source:
    """A file of a role that is installed on machines.

    Args:
        role: The role.
        file: Its path in the stack's repository: `roles/nginx/templates/etc/nginx/nginx.conf.j2`.
    """

    role: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """One change to a role.

    Args:
        role: The role.
        area: The area of the item concerned.
        item: The item.
        text: What to do, in the imperative.
        source: The role's file that the item comes from.
        diff: For a text: how it changes on the machine.
        old: The item's facts in the stack: those that differ, or all.
        new: The same facts in production.
    """

    role: str
    area: str
    item: str
    text: str
    source: str | None = None
    diff: str | None = None
    old: Facts | None = None
    new: Facts | None = None

    @property
    def check(self) -> str:
        """The name of the item's check."""
        return check_name(self.area, self.item)

    def words(self) -> str:
        """The task in one line, with the file to change."""
        return f"{self.text} ({self.source})" if self.source else self.text


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to change in the roles.

    Args:
        tasks: By role, in the recommended order.
        notes: Anything else people should know.
    """

    tasks: tuple[Task, ...] = ()
    notes: tuple[str, ...] = ()

    def by_role(self) -> dict[str, list[Task]]:
        """The tasks of each role."""
        found: dict[str, list[Task]] = {}
        for task in self.tasks:
            found.setdefault(task.role, []).append(task)
        return found


@dataclass(frozen=True, kw_only=True)
class _Changed:
    area: str
    item: str
    old: Facts | None
    new: Facts | None


def propose(
    old: Manifest, new: Manifest, roles: Roles, sources: Mapping[str, Sequence[Source]]
) -> Proposal:
    """What to change in the roles, so that machines become as `new` says.

    Ignores what varies or is unknown in either manifest, and what comes with a package that is to
    be installed, upgraded or removed anyway.

    Args:
        old: The stack's manifest.
        new: Production's manifest.
        roles: Which role is responsible for what.
        sources: By path on the machine: the roles' files that may be installed there.
    """
    changed = list(_changed(old, new))
    packages = {one.item.partition(":")[0] for one in changed if one.area == "package"}
    paths = {one.item for one in changed if one.area == "file"}
    found: list[Task] = []
    brought = 0
    for one in changed:
        if _comes_with_package(one, packages):
            brought += 1
        else:
            found += _tasks(_without_files(one, paths), roles, sources)
    order = {role: number for number, role in enumerate((roles.default, *roles.patterns))}
    found.sort(key=lambda task: (order.get(task.role, len(order)), task.role, _rank(task.area)))
    return Proposal(tasks=tuple(found), notes=tuple(_notes(old, new, brought)))


def _rank(area: str) -> tuple[int, str]:
    return _FIRST.index(area) if area in _FIRST else len(_FIRST), area


def _changed(old: Manifest, new: Manifest) -> Iterator[_Changed]:
    nothing = Tokens()
    for area in sorted(set(old.areas) & set(new.areas)):
        were, are = old.areas[area], new.areas[area]
        for item in sorted({*were, *are}):
            was, now = were.get(item), are.get(item)
            varies = (*_varies(old, area, item), *_varies(new, area, item))
            difference = compare(was, now, nothing, varies)
            if difference is None:
                continue
            if difference.kind is Kind.DIFFERS:
                names = {*difference.expected, *difference.found}
                was, now = (_only(facts or {}, names, area, set(varies)) for facts in (was, now))
            yield _Changed(area=area, item=item, old=was, new=now)


def _only(facts: Facts, names: set[str], area: str, varies: set[str]) -> Facts:
    """The facts of an item that differ, and those needed to say what to do about them."""
    wanted = set(names)
    if area == "package" and "status" in names:
        wanted |= facts.keys()
    if area == "file" and "package" in names:
        wanted |= {"content", "sha256"} - varies
    return {name: value for name, value in facts.items() if name in wanted}


def _varies(manifest: Manifest, area: str, item: str) -> Iterable[str]:
    return manifest.varies.get(area, {}).get(item, ())


def _comes_with_package(one: _Changed, packages: set[str]) -> bool:
    """Whether the difference comes with a package that changes anyway."""
    if one.area == "file":
        there = [facts for facts in (one.old, one.new) if facts is not None]
        names = {name for facts in there for name in facts}
        whole = len(there) == 1 or names <= {"package", "content", "sha256"}
        return whole and all(facts.get("package") in packages for facts in there)
    if one.area == "python" and one.item.endswith(_DEBIANS_PYTHON):
        name = one.item.removesuffix(_DEBIANS_PYTHON)
        return bool({name, f"python3-{name}", f"python3-{name.removeprefix('py')}"} & packages)
    return False


def _without_files(one: _Changed, paths: set[str]) -> _Changed:
    """A unit without its files that are already listed as files."""
    if one.area != "unit" or not one.new or not one.old:
        return one
    old, new = dict(one.old), dict(one.new)
    if any(f"{folder}/{one.item}" in paths for folder in _UNIT_FOLDERS):
        old.pop("file", None)
        new.pop("file", None)
    for facts in (old, new):
        drop_ins = facts.get("drop-ins")
        if isinstance(drop_ins, dict):
            facts["drop-ins"] = {p: kept for p, kept in drop_ins.items() if p not in paths}
    return _Changed(area=one.area, item=one.item, old=old, new=new)


def _tasks(one: _Changed, roles: Roles, sources: Mapping[str, Sequence[Source]]) -> Iterator[Task]:
    role = roles.of(one.area, one.item)
    known = sources.get(one.item, ()) if one.area == "file" else ()
    source = next((s for s in known if s.role == role), known[0] if known else None)
    for line in tasks.of(one.area, one.item, one.old, one.new):
        yield Task(
            role=source.role if source else role,
            area=one.area,
            item=one.item,
            text=line.text,
            source=source.file if source else None,
            diff=line.diff,
            old=one.old,
            new=one.new,
        )


def _notes(old: Manifest, new: Manifest, brought: int) -> Iterator[str]:
    if brought:
        yield (
            f"left out: {brought} {'change' if brought == 1 else 'changes'} that come with "
            "packages that change anyway"
        )
    for area in sorted(set(old.areas) ^ set(new.areas)):
        where, count = (
            ("the new manifest", len(old.areas[area]))
            if area in old.areas
            else ("the stack's manifest", len(new.areas[area]))
        )
        yield f"left out: area {area} (items: {count}), which {where} does not have"
