"""`devvm stack init`: make a stack, small and working or from an Ansible repository."""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from devvm.domain.errors import ExistsError, HostNotReadyError
from devvm.domain.release import applied_roles, role_yaml
from devvm.operations.stack import leftovers, repository
from devvm.operations.stack.repository import Found
from devvm.stack.folder import DESCRIPTION
from devvm.system import assets, trees

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new stack.

    Attributes:
        folder: Its folder.
        found: What was found in the repository it was made from; None if it is a new one.
    """

    folder: Path
    found: Found | None = None


def init(folder: Path, *, source: Path | None = None, playbook: str | None = None) -> Made:
    """Make a stack's folder, all or nothing.

    Args:
        folder: The folder; it must not exist, or be empty.
        source: An Ansible repository to make it from. Its roles, playbooks and values are copied;
            it stays as it is.
        playbook: The repository's playbook that lists the roles.

    Raises:
        ExistsError: there is something in the folder.
        UsageError: the repository has no playbook, or several that could be meant.
        HostNotReadyError: the folder can't be written.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExistsError(
            f"{folder} is not empty", resolution="name a new folder: devvm stack init FOLDER"
        )
    found = None if source is None else repository.look(source, playbook)
    name = _NOT_IN_A_NAME.sub("-", folder.name.lower()).strip("-") or "stack"
    name = name if name[0].isalpha() else f"stack-{name}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            new = unfinished / "stack"
            shutil.copytree(assets.new_stack(), new)
            if source is not None and found is not None:
                _take_over(source, found, new)
            _describe(new / DESCRIPTION, name[:31], found)
            if folder.exists():
                folder.rmdir()
            new.rename(folder)
        finally:
            trees.remove(unfinished)
    except OSError as error:
        raise HostNotReadyError(
            f"{folder} can't be written", details=str(error), resolution=f"ls -ld {folder.parent}"
        ) from None
    return Made(folder=folder, found=found)


def _take_over(source: Path, found: Found, new: Path) -> None:
    for part in ("roles", "playbooks", "group_vars"):
        trees.remove(new / part)
        (new / part).mkdir()
    for part in ("roles", "collections"):
        if (source / part).is_dir():
            _copy(source / part, new / part)
    top = found.playbook.rpartition("/")[0]
    for path in found.playbooks:
        inside = posixpath.relpath(path, top or ".")
        if path == found.playbook:
            inside = applied_roles.SITE
        elif inside.startswith(".."):
            found.todo.append(f"{path}: move it into playbooks/ and correct who names it")
            continue
        (new / "playbooks" / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, new / "playbooks" / inside)
    for folder in found.values:
        _copy(source / folder, new / "group_vars")
    for role, packages in found.packages.items():
        _declare(new / "roles" / role, packages, found)
    found.todo += leftovers.of(source, found.values)


def _copy(folder: Path, destination: Path) -> None:
    shutil.copytree(
        folder, destination, dirs_exist_ok=True, ignore_dangling_symlinks=True,
        ignore=shutil.ignore_patterns(".git", "__pycache__", "molecule"),
    )  # fmt: skip


def _declare(role: Path, packages: list[str], found: Found) -> None:
    """Declare a role's packages, and the files of its databases, unless it does so itself."""
    file = role / "vars" / "main.yml"
    text = file.read_text(encoding="utf-8") if file.is_file() else "---\n"
    known = role_yaml.variables({"vars/main.yml": text.encode()})
    more = ""
    prefix = role_yaml.prefix(role.name)
    if packages and f"{prefix}_packages" not in known:
        lines = "".join(f"  - {name}\n" for name in sorted(packages))
        more += f"# What the tasks install, for devvm\n{prefix}_packages:\n{lines}"
    databases = {found.databases[name] for name in packages if name in found.databases}
    paths = [path for path in found.state_paths if databases and path not in text]
    if paths and f"{prefix}_state_paths" not in known:
        lines = "".join(f"  - path: {path}\n" for path in paths)
        more += f"# What a rebuild of a VM keeps\n{prefix}_state_paths:\n{lines}"
    if more:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.rstrip("\n") + "\n" + more, encoding="utf-8")


def _describe(file: Path, name: str, found: Found | None) -> None:
    text = file.read_text(encoding="utf-8").replace("@NAME@", name)
    said: dict[str, object] = {}
    if found is not None and found.groups:
        said["groups"] = list(found.groups)
    if found is not None and found.databases:
        said["databases"] = [
            {"name": server, "package": package} for package, server in found.databases.items()
        ]
    if said:
        text += yaml.safe_dump(said, sort_keys=False)
    file.write_text(text, encoding="utf-8")
