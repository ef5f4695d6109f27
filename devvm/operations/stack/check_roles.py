"""What `devvm stack check` finds in the tasks of roles: what a box or a VM would lack."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from devvm.domain.release import applied_roles, role_yaml
from devvm.operations.stack import repository
from devvm.operations.stack.findings import Finding
from devvm.operations.stack.repository import Found, Lack
from devvm.operations.stack.role_tasks import Task
from devvm.stack.description import Description
from devvm.stack.folder import StackFolder

#: Debian's self-signed certificate, of the package ssl-cert.
_DEBIANS_CERTIFICATE = b"ssl-cert-snakeoil"
_SECRET = re.compile(r"key|secret|token|passw", re.IGNORECASE)
_PUBLIC = re.compile(r"keyring|\.(pub|gpg|asc|crt)$", re.IGNORECASE)
_OWN_TO_A_MACHINE = (PurePosixPath("/etc"), PurePosixPath("/var/lib"))


def check(
    stack: StackFolder,
    description: Description,
    *,
    packages: Collection[str],
    secrets: Collection[str],
    vault_identities: Sequence[str],
) -> Iterator[Finding]:
    """Look at the roles that the playbook applies, and at those that they name.

    Args:
        stack: The stack; its playbook applies a role.
        description: What its `stack.yml` says.
        packages: The packages that a box has.
        secrets: The roles' secret paths.
        vault_identities: The passwords of Ansible Vault that the configuration names.
    """
    found = repository.look(stack.root, f"playbooks/{applied_roles.SITE}")
    yield from _packages(found, packages)
    yield from _collections(stack, found)
    if found.encrypted and not vault_identities:
        yield Finding(
            file=found.encrypted[0],
            text="it is encrypted by Ansible Vault, and the configuration names no password",
            next="in /etc/devvm/config.toml: [ansible] vault_identities = "
            '["dev@/etc/devvm/vault-dev"], the file with the password',
        )
    allowed = [Lack.SOURCE] * bool(description.apt.repositories)
    allowed += [Lack.NETWORK] * description.box.network
    for one in found.not_in_a_box:
        if one.lack not in allowed:
            yield Finding(file=f"roles/{one.role}", text=one.text, next=one.lack, needed=False)
    if not description.tls.units:
        yield from _certificate(stack, found)
    yield from _secrets(found, {*secrets, description.tls.key})


def _packages(found: Found, packages: Collection[str]) -> Iterator[Finding]:
    for one in found.installs:
        role = one.task.role
        declared = found.variables[role].get(one.declared_in)
        if not isinstance(declared, list):
            continue  # it declares nothing at all, which is another finding
        where = f"{one.declared_in} in roles/{role}/vars/main.yml"
        lacking = [name for name in one.names if name not in packages]
        if lacking:
            yield Finding(
                file=one.task.file,
                text=f"'{one.task.title}' installs {', '.join(lacking)}, which no role declares, "
                "so no box has it",
                next=f"list it in {where}",
            )
        # What is declared, and in no task by name, is what this one installs
        if one.unclear and set(declared) <= set(found.packages[role]):
            yield Finding(
                file=one.task.file, needed=False,
                text=f"'{one.task.title}' installs packages whose names devvm can't read, and "
                "no role declares them",
                next=f"list them in {where}",
            )  # fmt: skip


def _collections(stack: StackFolder, found: Found) -> Iterator[Finding]:
    known: set[str] = set()
    for task in found.tasks:
        for collection in task.collections():
            inside = f"ansible_collections/{collection.replace('.', '/')}"
            if collection not in known and not (stack.collections / inside).is_dir():
                known.add(collection)
                yield Finding(
                    file=task.file,
                    text=f"'{task.title}' needs the collection {collection}, which is not in "
                    "collections/",
                    next=f"ansible-galaxy collection install {collection} -p collections",
                )


def _certificate(stack: StackFolder, found: Found) -> Iterator[Finding]:
    for role in found.variables:
        files = (path for path in (stack.root / "roles" / role).rglob("*") if path.is_file())
        if any(_DEBIANS_CERTIFICATE in path.read_bytes() for path in files) or (
            "ssl-cert" in found.packages.get(role, ())
        ):
            yield Finding(
                file=f"roles/{role}", needed=False,
                text="it uses Debian's own certificate (ssl-cert), which is made anew in each VM, "
                "while its services run",
                next="name their units in stack.yml, so that they are reloaded: "
                "`tls: {units: [nginx.service]}`",
            )  # fmt: skip


def _secrets(found: Found, secrets: Collection[str]) -> Iterator[Finding]:
    for task in found.tasks:
        for path in _created(task, found.variables[task.role]):
            if (
                any(path.is_relative_to(folder) for folder in _OWN_TO_A_MACHINE)
                and _SECRET.search(path.name)
                and not _PUBLIC.search(path.name)
                and not _any_matches(path, secrets)
            ):
                variable = f"{role_yaml.prefix(task.role)}_secret_paths"
                yield Finding(
                    file=task.file, needed=False,
                    text=f"'{task.title}' makes {path}, which all VMs of a box would share",
                    next=f"list it in {variable} in roles/{task.role}/vars/main.yml, and make it "
                    "in a unit at boot",
                )  # fmt: skip


def _created(task: Task, variables: Mapping[str, object]) -> Iterator[PurePosixPath]:
    for module, arguments in task.modules():
        if module in ("command", "shell"):
            names, _ = task.names(arguments.get("creates"), variables)
            yield from map(PurePosixPath, names)


def _any_matches(path: PurePosixPath, secrets: Collection[str]) -> bool:
    places = [str(place) for place in (path, *path.parents)]
    return any(fnmatchcase(place, secret) for place in places for secret in secrets)
