"""What `devvm stack init` doesn't copy from an Ansible repository. Reads files only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from devvm.domain.release import role_yaml

_INVENTORIES = ("hosts*", "inventory*", "inventories", "environments", "production", "staging",
                "*.ini")  # fmt: skip
_VARIABLES = ("group_vars", "host_vars")
_BESIDE_PLAYBOOKS = ("files", "templates", "tasks", "library", "module_utils", "*_plugins")
_SECTION = re.compile(r"^\[([^\]:]+):vars\]", re.MULTILINE)
_LARGEST = 1 << 20


def of(repository: Path, values: Collection[str]) -> Iterator[str]:
    """What is not copied, and what to do with it; one sentence each.

    Args:
        repository: The repository's folder.
        values: The folders of `group_vars` that are copied.
    """
    inventories = _there(repository, _INVENTORIES)
    hosts = _there(repository, ("host_vars", "playbooks/host_vars"))
    if inventories or hosts:
        yield (
            f"{', '.join([*inventories, *hosts])}: not copied, as devvm makes a VM's inventory "
            "itself; production needs its own: put it beside group_vars/, where Ansible finds both"
        )
    for file in _files(repository, inventories):
        groups = sorted(set(_groups_with_variables(file)))
        if groups:
            yield (
                f"{file.relative_to(repository).as_posix()}: VMs don't get its variables of "
                f"{', '.join(groups)}: move what they need to group_vars/"
            )
    folders = sorted(repository.glob("*/**/group_vars"))
    found = (folder.relative_to(repository).as_posix() for folder in folders)
    others = [name for name in found if name not in values and not name.startswith("roles/")]
    if others:
        yield f"{', '.join(others)}: not copied: move what VMs need to group_vars/"
    if (repository / "ansible.cfg").is_file():
        yield (
            "ansible.cfg: not copied, as devvm runs Ansible with its own settings; keep it for "
            "production"
        )
    beside = [*_BESIDE_PLAYBOOKS, *(f"playbooks/{name}" for name in _BESIDE_PLAYBOOKS)]
    if more := [name for name in _there(repository, beside) if (repository / name).is_dir()]:
        yield f"{', '.join(more)}: not copied: put what the roles need of it into a role"


def _there(repository: Path, patterns: Collection[str]) -> list[str]:
    found = {path for pattern in patterns for path in repository.glob(pattern)}
    return sorted(path.relative_to(repository).as_posix() for path in found)


def _files(repository: Path, inventories: Collection[str]) -> Iterator[Path]:
    for name in inventories:
        for path in [repository / name, *sorted((repository / name).rglob("*"))]:
            inside = path.relative_to(repository).parts
            if path.is_file() and not {*_VARIABLES} & {*inside}:
                yield path


def _groups_with_variables(file: Path) -> Iterator[str]:
    if file.stat().st_size > _LARGEST:
        return
    content = file.read_bytes()
    yield from _SECTION.findall(content.decode(errors="replace"))
    if file.suffix in (".yml", ".yaml"):
        yield from _in_yaml(role_yaml.read(content))


def _in_yaml(groups: object) -> Iterator[str]:
    for name, group in groups.items() if isinstance(groups, dict) else ():
        if isinstance(group, dict):
            if group.get("vars"):
                yield str(name)
            yield from _in_yaml(group.get("children"))
