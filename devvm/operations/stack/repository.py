"""Looks through an Ansible repository for what makes a stack. Reads files only."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devvm.domain.errors import UsageError
from devvm.domain.release import applied_roles, role_yaml
from devvm.operations.stack import role_tasks
from devvm.operations.stack.role_tasks import Task

#: Where playbooks, values and roles usually are.
_PLAYBOOKS = ("", "playbooks")
_USUAL = ("site.yml", "main.yml", "playbook.yml")
_VALUES = ("group_vars", "playbooks/group_vars", "inventory/group_vars",
           "inventories/production/group_vars", "production/group_vars")  # fmt: skip
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EVERYWHERE = frozenset({"all", "localhost", "ungrouped"})
_DATABASES = {"mariadb-server": "MariaDB", "mysql-server": "MySQL", "postgresql": "PostgreSQL"}
_DATA = {
    "MariaDB": "/var/lib/mysql",
    "MySQL": "/var/lib/mysql",
    "PostgreSQL": "/var/lib/postgresql",
}
_FROM_NETWORK = frozenset({"get_url", "uri", "git", "pip", "npm", "gem", "composer"})
_OTHER_PACKAGES = frozenset({"yum", "dnf", "zypper", "apk", "pacman"})
_SOURCES = frozenset({"apt_repository", "apt_key", "deb822_repository"})


class Lack(StrEnum):
    """What a box is built without, unless its stack says otherwise; the value is what to do."""

    SOURCE = "name it in stack.yml, with its key: apt.repositories"
    NETWORK = (
        "`box: {network: true}` in stack.yml, or use a package or files in the role, or skip the "
        "task in a box"
    )
    OTHER_PACKAGES = "install a package of Debian with apt, or skip the task in a box"


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Something that a role does and that a box can't be built with.

    Attributes:
        role: The role.
        text: What it does, a clause.
        lack: What it would need.
    """

    role: str
    text: str
    lack: Lack


@dataclass(frozen=True, kw_only=True)
class Install:
    """Packages that a task installs.

    Attributes:
        task: The task.
        names: The packages' names, as far as they can be read.
        unclear: Whether some can't.
    """

    task: Task
    names: tuple[str, ...]
    unclear: bool

    @property
    def declared_in(self) -> str:
        """The variable in which the role declares its packages."""
        return f"{role_yaml.prefix(self.task.role)}_packages"


@dataclass(kw_only=True)
class Found:
    """What is in a repository.

    Attributes:
        playbook: The playbook that lists the roles, relative to the repository.
        playbooks: It, the playbooks that it imports, and the files of variables that they name,
            relative to the repository.
        roles: The roles that it applies, in its order.
        groups: The inventory groups that its plays name.
        tasks: The tasks of the roles, and of roles that these name.
        variables: The variables of each of these roles: its own, and those in `group_vars`.
        installs: What the tasks install.
        units: The systemd units that each role starts.
        repositories: Addresses of git repositories that roles clone, and to where.
        databases: Names of database servers, by their packages.
        values: Folders of variables, relative to the repository.
        encrypted: Files with values encrypted by Ansible Vault, relative to the repository.
        todo: What a person has to do, one sentence each.
        not_in_a_box: What roles do that a box can't be built with.
    """

    playbook: str
    playbooks: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tasks: list[Task] = field(default_factory=list)
    variables: dict[str, Mapping[str, object]] = field(default_factory=dict)
    installs: list[Install] = field(default_factory=list)
    units: dict[str, list[str]] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    databases: dict[str, str] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    encrypted: tuple[str, ...] = ()
    todo: list[str] = field(default_factory=list)
    not_in_a_box: list[Obstacle] = field(default_factory=list)

    @property
    def packages(self) -> dict[str, list[str]]:
        """The packages that each role installs, as far as they can be read."""
        names: dict[str, dict[str, None]] = {}
        for one in self.installs:
            names.setdefault(one.task.role, {}).update(dict.fromkeys(one.names))
        return {role: list(found) for role, found in names.items()}

    @property
    def left(self) -> list[str]:
        """All that is left for a person, one sentence each."""
        unclear = (
            f"{one.task.role}: list what '{one.task.title}' installs in {one.declared_in}"
            for one in self.installs
            if one.unclear
        )
        roles = (f"{one.role}: {one.text}" for one in self.not_in_a_box)
        return list(dict.fromkeys([*self.todo, *unclear, *roles]))

    @property
    def state_paths(self) -> list[str]:
        """Directories that the databases keep their files in."""
        return sorted({_DATA[name] for name in self.databases.values()})


def look(repository: Path, playbook: str | None = None) -> Found:
    """Look through an Ansible repository.

    Args:
        repository: Its folder.
        playbook: The playbook that lists the roles, relative to it; None to look for one.

    Raises:
        UsageError: it has no playbook, or several that could be meant.
    """
    playbooks = dict(_playbooks(repository))
    found = Found(playbook=_chosen(repository, playbooks, playbook))
    found.playbooks = tuple(_with_imports(repository, found.playbook, found, []))
    contents = {path: (repository / path).read_bytes() for path in found.playbooks}
    found.roles = tuple(applied_roles.of(contents, found.playbook))
    found.groups = tuple(dict.fromkeys(_groups(contents)))
    found.values = tuple(path for path in _VALUES if (repository / path).is_dir())
    shared = _shared_variables(repository, found)
    for role in found.roles:
        _look_at_role(repository, role, shared, found)
    found.encrypted = tuple(_encrypted(repository, found))
    _look_at_the_rest(repository, found)
    return found


def _playbooks(repository: Path) -> Iterator[tuple[str, bytes]]:
    for folder in _PLAYBOOKS:
        for path in sorted((repository / folder).glob("*.y*ml")):
            content = path.read_bytes()
            plays = role_yaml.read(content)
            if isinstance(plays, list) and any(
                isinstance(play, dict) and any("hosts" in key or "import" in key for key in play)
                for play in plays
            ):
                yield path.relative_to(repository).as_posix(), content


def _chosen(repository: Path, playbooks: Mapping[str, bytes], wanted: str | None) -> str:
    if wanted is not None:
        if wanted in playbooks:
            return wanted
        reason = f"there is no playbook {wanted}"
    else:
        for name in _USUAL:
            usual = [path for path in playbooks if path.rpartition("/")[2] == name]
            if len(usual) == 1:
                return usual[0]
        if len(playbooks) == 1:
            return next(iter(playbooks))
        reason = "which playbook lists the roles of all hosts?"
    if not repository.is_dir():
        raise UsageError(
            f"there is no folder {repository}", resolution="name a repository: --from FOLDER"
        )
    if not playbooks:
        raise UsageError(
            f"{repository} has no playbooks",
            details="looked for *.yml with plays there and in playbooks/",
            resolution="name the folder of an Ansible repository: --from FOLDER",
        )
    raise UsageError(
        f"{repository}: {reason}",
        details=f"its playbooks: {', '.join(playbooks)}",
        resolution="name one of them: --playbook FILE",
    )


def _with_imports(repository: Path, name: str, found: Found, known: list[str]) -> list[str]:
    """A playbook, those that it imports, and the files of variables that they name."""
    known.append(name)
    plays = role_yaml.read((repository / name).read_bytes())
    for play in plays if isinstance(plays, list) else ():
        if not isinstance(play, dict):
            continue
        imported = [v for key, v in play.items() if str(key).endswith("import_playbook")]
        files = play.get("vars_files")
        for path in [*imported, *(files if isinstance(files, list) else ())]:
            inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), str(path)))
            if inside in known:
                continue
            if "{{" in inside or inside.startswith("..") or not (repository / inside).is_file():
                found.todo.append(f"{name}: it names {path}, which could not be found")
            else:
                _with_imports(repository, inside, found, known)
    return known


def _groups(playbooks: Mapping[str, bytes]) -> Iterator[str]:
    for content in playbooks.values():
        plays = role_yaml.read(content)
        for play in plays if isinstance(plays, list) else ():
            hosts = play.get("hosts") if isinstance(play, dict) else None
            for pattern in re.split(r"[,:]", hosts) if isinstance(hosts, str) else hosts or ():
                word = str(pattern).strip()
                if _GROUP.fullmatch(word) and word not in _EVERYWHERE:
                    yield word


def _shared_variables(repository: Path, found: Found) -> dict[str, object]:
    """The variables in `group_vars` that hold for a VM: those of all, then of its groups."""
    shared: dict[str, object] = {}
    for group in ("all", "development", *found.groups):
        for folder in found.values:
            here = repository / folder
            for path in (
                *sorted(here.glob(f"{group}.y*ml")),
                *sorted(here.glob(f"{group}/*.y*ml")),
            ):
                content = role_yaml.read(path.read_bytes())
                if isinstance(content, dict):
                    shared |= {str(name): value for name, value in content.items()}
    return shared


def _look_at_role(repository: Path, role: str, shared: Mapping[str, object], found: Found) -> None:
    """Look at a role and at those that it names, each once."""
    if role in found.variables:
        return
    folder = repository / "roles" / role
    if not folder.is_dir():
        where = "collections/" if role.count(".") == 2 else "roles/"
        found.todo.append(f"the role {role} is not in the repository: put it into {where}")
        return
    found.variables[role] = role_tasks.variables(folder, shared)
    for task in role_tasks.of(folder):
        found.tasks.append(task)
        _look_at_task(task, found.variables[role], found)
    for name in role_tasks.other_roles(folder):
        _look_at_role(repository, name, shared, found)


def _look_at_task(task: Task, values: Mapping[str, object], found: Found) -> None:
    for module, arguments in task.modules():
        if module in _OTHER_PACKAGES:
            text = f"it installs packages with {module}, and a box is Debian's"
            _note(found, task, text, Lack.OTHER_PACKAGES)
        elif module in ("apt", "package"):
            if arguments.get("state") in ("absent", "removed"):
                continue
            wanted = arguments.get("name", arguments.get("pkg", arguments.get("package")))
            names, unclear = task.names(wanted, values)
            found.installs.append(
                Install(task=task, names=names, unclear=unclear or "deb" in arguments)
            )
            _note_databases(names, found)
        elif module in ("service", "systemd", "systemd_service"):
            names, _ = task.names(arguments.get("name"), values)
            units = found.units.setdefault(task.role, [])
            units += [name for name in names if name not in units]
        elif module in _SOURCES:
            text = f"'{task.title}' adds a package source, and boxes have only Debian's"
            _note(found, task, text, Lack.SOURCE)
        elif module in _FROM_NETWORK or (
            module == "unarchive" and "://" in str(arguments.get("src"))
        ):
            if module == "git" and isinstance(arguments.get("repo"), str):
                found.repositories[arguments["repo"]] = str(arguments.get("dest", ""))
            text = f"'{task.title}' needs the network, and a box is built without it"
            _note(found, task, text, Lack.NETWORK)


def _note_databases(names: tuple[str, ...], found: Found) -> None:
    for name in names:
        for package, server in _DATABASES.items():
            if name == package or (
                server == "PostgreSQL" and re.fullmatch(r"postgresql-\d+", name)
            ):
                found.databases[name] = server


def _encrypted(repository: Path, found: Found) -> Iterator[str]:
    folders = [repository / folder for folder in found.values]
    folders += [
        repository / "roles" / role / part for role in found.variables for part in role_tasks.VALUES
    ]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and b"$ANSIBLE_VAULT" in path.read_bytes():
                yield path.relative_to(repository).as_posix()


def _look_at_the_rest(repository: Path, found: Found) -> None:
    for path in ("requirements.yml", "roles/requirements.yml", "collections/requirements.yml"):
        if (repository / path).is_file():
            found.todo.append(
                f"{path}: vendor what it lists: ansible-galaxy install -r {path} "
                "--roles-path roles; ansible-galaxy collection install -r "
                f"{path} -p collections"
            )
    if found.encrypted:
        found.todo.append(
            f"{found.encrypted[0]} is in a vault: name the password's file in "
            "ansible.vault_identities"
        )
    for address, destination in found.repositories.items():
        found.todo.append(
            f"{address} is cloned to {destination or 'somewhere'}: if engineers work on it, "
            "describe it in stack.yml (applications)"
        )


def _note(found: Found, task: Task, text: str, lack: Lack) -> None:
    obstacle = Obstacle(role=task.role, text=text, lack=lack)
    if obstacle not in found.not_in_a_box:
        found.not_in_a_box.append(obstacle)
