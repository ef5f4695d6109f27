"""The tasks of a role: their modules, and the names in their arguments. Reads files only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devvm.domain.release import role_yaml

#: The folders of a role with values of variables.
VALUES = ("defaults", "vars")

_BLOCKS = ("block", "rescue", "always")
_NAME = re.compile(r"[A-Za-z0-9][\w+@.-]*|/[^{}]+")
_TEMPLATE = re.compile(r"\{\{\s*(\w+(?:\s*\+\s*\w+)*)\s*\}\}")
#: Files of roles for several systems that a Debian host doesn't use.
_OTHER_SYSTEM = re.compile(r"redhat|centos|fedora|archlinux|suse|bsd|alpine|darwin", re.IGNORECASE)
_DEEPEST = 8


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of a role.

    Attributes:
        role: The role.
        file: Where it is, as `roles/ROLE/tasks/main.yml`.
        content: What is written there.
    """

    role: str
    file: str
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its name."""
        return str(self.content.get("name") or "a task without a name")

    def modules(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each key that may be its module, without the collection, and the arguments."""
        more = self.content.get("args")
        for key, given in self.content.items():
            arguments = _arguments(given)
            if arguments is not None:
                arguments |= more if isinstance(more, dict) else {}
                yield key.rpartition(".")[2], arguments

    def collections(self) -> Iterator[str]:
        """The collections that its modules are in, as NAMESPACE.NAME; not Ansible's own."""
        for key in self.content:
            collection, _, _ = key.rpartition(".")
            if collection.count(".") == 1 and collection not in (
                "ansible.builtin", "ansible.legacy",
            ):  # fmt: skip
                yield collection

    def names(self, value: object, values: Mapping[str, object]) -> tuple[tuple[str, ...], bool]:
        """The names in an argument, as far as they can be read; and whether some can't.

        What follows the name of a package, its version or architecture, is left out.

        Args:
            value: The argument: a name, a list, or a template.
            values: The role's variables.
        """
        if isinstance(value, str) and value.strip() in ("{{ item }}", "{{item}}"):
            value = self.content.get("loop", self.content.get("with_items"))
        names = list(_resolved(value, values))
        return tuple(name for name in names if name is not None), None in names


def of(role: Path) -> Iterator[Task]:
    """The tasks and handlers of a role, also those in blocks."""
    for part in ("tasks", "handlers"):
        for path in sorted((role / part).rglob("*.y*ml")):
            if not _OTHER_SYSTEM.search(path.stem):
                file = f"roles/{role.name}/{path.relative_to(role).as_posix()}"
                for content in _flat(role_yaml.read(path.read_bytes())):
                    yield Task(role=role.name, file=file, content=content)


def variables(role: Path, shared: Mapping[str, object]) -> dict[str, object]:
    """A role's variables.

    Args:
        role: Its folder.
        shared: Variables of `group_vars`, which replace defaults.
    """
    files = {
        part: {
            path.relative_to(role).as_posix(): path.read_bytes()
            for path in (role / part).rglob("*.y*ml")
            if not _OTHER_SYSTEM.search(path.stem)
        }
        for part in VALUES
    }
    return {
        **role_yaml.variables(files["defaults"]),
        **shared,
        **role_yaml.variables(files["vars"]),
    }


def other_roles(role: Path) -> Iterator[str]:
    """The roles that a role names: its dependencies, and those that its tasks include."""
    meta = role / "meta" / "main.yml"
    content = role_yaml.read(meta.read_bytes()) if meta.is_file() else None
    listed = content.get("dependencies") if isinstance(content, dict) else None
    named = [
        one.get("role", one.get("name")) if isinstance(one, dict) else one
        for one in (listed if isinstance(listed, list) else ())
    ]
    for task in of(role):
        for module, arguments in task.modules():
            if module in ("include_role", "import_role"):
                named.append(arguments.get("name"))
    yield from (name for name in named if isinstance(name, str) and "{{" not in name)


def _flat(content: object) -> Iterator[Mapping[str, Any]]:
    for task in content if isinstance(content, list) else ():
        if isinstance(task, dict):
            yield {str(key): value for key, value in task.items()}
            for key in _BLOCKS:
                yield from _flat(task.get(key))


def _arguments(given: object) -> dict[str, Any] | None:
    """A module's arguments; also from the older form `name=x state=y`."""
    if isinstance(given, str):
        try:
            return dict(word.split("=", 1) for word in shlex.split(given) if "=" in word)
        except ValueError:  # a quote without an end
            return None
    return dict(given) if isinstance(given, dict) else None


def _resolved(
    value: object, values: Mapping[str, object], depth: int = _DEEPEST
) -> Iterator[str | None]:
    """The names in a value; None for each that can't be read."""
    if value is None:
        return
    if isinstance(value, list):
        for one in value:
            yield from _resolved(one, values, depth)
    elif isinstance(value, str) and (template := _TEMPLATE.fullmatch(value.strip())):
        for variable in re.split(r"\s*\+\s*", template[1]):
            if depth and variable in values:
                yield from _resolved(values[variable], values, depth - 1)
            else:
                yield None
    elif isinstance(value, str) and "," in value:
        yield from _resolved(value.split(","), values, depth)
    else:
        name = str(value).strip()
        name = name if name.startswith("/") else re.split("[=/:]", name)[0]
        yield name if isinstance(value, str) and _NAME.fullmatch(name) else None
