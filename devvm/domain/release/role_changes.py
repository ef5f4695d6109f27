"""Changes of a role in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from devvm.domain.release import role_yaml, text_changes
from devvm.domain.release.stack import RoleChange

#: Show at most this many lines for a role; count the rest.
_LINES = 6
#: Up to this many code files are listed one by one.
_FILES = 3
_DOCUMENTATION = ("meta/", "README.md")
_VARIABLES = ("defaults/", "vars/")
_TASKS = {"tasks/": "task", "handlers/": "handler"}
_MIGRATION = re.compile(r".*/migrations?/(?:versions/)?(?P<name>[^/]*\d[^/]*)\.(?:py|sql)")

_Files = Mapping[str, bytes]


def words(change: RoleChange, old: _Files, new: _Files, packages: Set[str]) -> list[str]:
    """The changes of an existing role, one line each.

    Args:
        change: The role's files that changed.
        old: All its files before, by their paths in the role.
        new: All its files now.
        packages: Packages that changed. That the role now names them isn't listed again.
    """
    story = _Story(change=change, old=old, new=new, packages=packages)
    told = list(dict.fromkeys(story.tell()))
    if not told and story.packages_named_anew:
        return []
    if not told:
        paths = (*change.added, *change.changed, *change.removed)
        plain = all(path.startswith(_DOCUMENTATION) or path.endswith(".md") for path in paths)
        told = ["documentation only" if plain else "comments only"]
    if len(told) > _LINES + 1:  # "and 1 more" would be no shorter
        told[_LINES:] = [f"and {len(told) - _LINES} more changes"]
    return [f"{change.role}: {line}" for line in told]


@dataclass(kw_only=True)
class _Story:
    """Collects the changes of one role; what belongs together becomes one phrase."""

    change: RoleChange
    old: _Files
    new: _Files
    packages: Set[str]
    code: list[tuple[str, int]] = field(default_factory=list)
    packages_named_anew: bool = False

    def tell(self) -> Iterator[str]:
        """The phrases: variables first, then tasks, then files."""
        yield from self._variables()
        for path in self.change.changed:
            yield from self._changed(path)
        for path in self.change.added:
            yield from self._whole(path, self.new, "new")
        for path in self.change.removed:
            yield from self._whole(path, self.old, "removed")
        yield from self._code()

    def _variables(self) -> Iterator[str]:
        before, after = role_yaml.variables(self.old), role_yaml.variables(self.new)
        name = f"{role_yaml.prefix(self.change.role)}_packages"
        self.packages_named_anew = before.get(name) != after.get(name)
        for variables in (before, after):
            if isinstance(declared := variables.get(name), list):
                variables[name] = [each for each in declared if str(each) not in self.packages]
        yield from role_yaml.variable_changes(before, after, self.change.role)

    def _changed(self, path: str) -> Iterator[str]:
        if path.startswith(_DOCUMENTATION):
            return
        old, new = text_changes.decode(self.old[path]), text_changes.decode(self.new[path])
        if old is None or new is None:
            yield f"{path} changed"
            return
        if text_changes.same_but_comments(path, old, new):
            return
        if migration := _MIGRATION.fullmatch(path):
            yield f"migration {_title(migration['name'])} changed"
            return
        phrases = self._phrases(path, old, new)
        if phrases is None:
            self.code.append((path, text_changes.changed_lines(old, new)))
        else:
            yield from phrases

    def _phrases(self, path: str, old: str, new: str) -> list[str] | None:
        """Phrases for a file's changes; None if only its number of changed lines can be given."""
        folder = f"{path.partition('/')[0]}/"
        if path.endswith((".yml", ".yaml")) and (folder in _TASKS or folder in _VARIABLES):
            before, after = role_yaml.read(self.old[path]), role_yaml.read(self.new[path])
            if before is None or after is None:
                return None
            if before == after or folder in _VARIABLES:  # listed already
                return []
            return list(role_yaml.task_changes(before, after, _TASKS[folder])) or None
        if not text_changes.is_configuration(path, new):
            return None
        values = role_yaml.variables(self.old), role_yaml.variables(self.new)
        return text_changes.directives(old, new, *map(role_yaml.substitute, values)) or None

    def _whole(self, path: str, files: _Files, what: str) -> Iterator[str]:
        """Handle a file that was added or removed."""
        if path.startswith((*_DOCUMENTATION, *_VARIABLES)):
            return
        if migration := _MIGRATION.fullmatch(path):
            yield f"{'' if what == 'new' else 'removed '}migration {_title(migration['name'])}"
            return
        noun = _TASKS.get(f"{path.partition('/')[0]}/")
        content = role_yaml.read(files[path]) if noun else None
        if noun and isinstance(content, list):
            pair = ([], content) if what == "new" else (content, [])
            yield from role_yaml.task_changes(*pair, noun)
        else:
            yield f"{what} file {path}"

    def _code(self) -> Iterator[str]:
        """Phrases for changed code: one per file if there are few."""
        if len(self.code) > _FILES:
            lines = sum(lines for _, lines in self.code)
            yield f"{lines} lines in {len(self.code)} files changed"
            return
        for path, lines in self.code:
            if lines:
                yield f"{lines} line{'s' if lines > 1 else ''} in {path} changed"
            else:
                yield f"lines in {path} reordered"


def _title(name: str) -> str:
    """A migration's title, from its file name: `0003 add nickname`."""
    return " ".join(PurePosixPath(name).name.replace("-", "_").split("_"))
