"""`devvm stack check`: what is missing in a stack, or wrong. Reads files only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from devvm.domain import known_hosts, openpgp, origin, package_set
from devvm.domain.errors import DevvmError
from devvm.domain.release import applied_roles, role_yaml
from devvm.operations.stack import check_roles
from devvm.operations.stack.findings import Finding
from devvm.parity.checks import catalogue, expectations
from devvm.parity.production import manifest, production, waivers
from devvm.ports.box import RoleDeclarations
from devvm.stack.description import Description
from devvm.stack.folder import CHECKS, DESCRIPTION, StackFolder

_INSTALLS = re.compile(rb"^\s*(?:- )?(?:ansible\.builtin\.)?(?:apt|package):", re.MULTILINE)


def check(
    stack: StackFolder, declared: RoleDeclarations, *, vault_identities: Sequence[str] = ()
) -> list[Finding]:
    """Look for what is missing in a stack, or wrong.

    Args:
        stack: The stack.
        declared: What its roles declare.
        vault_identities: The passwords of Ansible Vault that the configuration names.
    """
    found: list[Finding] = []
    try:
        description = stack.description()
    except DevvmError as error:
        found.append(_of(error, DESCRIPTION))
        description = Description()
    else:
        found += _keys(stack, description)
        if not (stack.root / DESCRIPTION).exists():
            found.append(Finding(
                file=DESCRIPTION, text="there is none, so devvm knows no application",
                next="write one: docs/stacks.md", needed=False,
            ))  # fmt: skip
    found += _site(stack)
    found += _origins(description)
    packages: tuple[str, ...] = ()
    try:
        packages, secrets = declared.packages(), declared.secret_paths()
        found += _declarations(stack, declared, description)
        if applied_roles.of(stack.playbooks()):
            found += check_roles.check(
                stack, description, packages={*packages, *_locked(stack)},
                secrets=secrets, vault_identities=vault_identities,
            )  # fmt: skip
    except DevvmError as error:
        found.append(_of(error, "roles/"))
    lock = _lock(stack, packages, description)
    return [*found, *_checks(stack), *_production(stack), *lock]


def _keys(stack: StackFolder, description: Description) -> Iterator[Finding]:
    files = dict(stack.files())
    for one in description.apt.repositories:
        if one.key not in files:
            problem: str | None = "there is no such file"
        else:
            problem = openpgp.problem(files[one.key].read_bytes())
        if problem is not None:
            yield Finding(
                file=one.key, text=f"the key of the repository {one.name}: {problem}",
                next="put the public key that its owner publishes there",
            )  # fmt: skip


def _site(stack: StackFolder) -> Iterator[Finding]:
    playbooks = stack.playbooks()
    site = f"playbooks/{applied_roles.SITE}"
    if role_yaml.read(playbooks.get(applied_roles.SITE, b"")) is None:
        yield Finding(
            file=site, text="it is not YAML", next=f"ansible-playbook --syntax-check {site}"
        )
        return
    applied = applied_roles.of(playbooks)
    if not applied:
        yield Finding(file=site, text="it applies no role", next="list the stack's roles in it")
        return
    for name in applied:
        if "{{" not in name and not _has_role(stack, name):
            yield Finding(
                file=site, text=f"there is no role {name}",
                next=f"add roles/{name}, or vendor its collection in collections/",
            )  # fmt: skip


def _has_role(stack: StackFolder, name: str) -> bool:
    namespace, _, rest = name.partition(".")
    collection, _, role = rest.partition(".")
    inside = f"ansible_collections/{namespace}/{collection}/roles/{role}"
    return any((folder / name).is_dir() for folder in stack.roles) or (
        bool(role) and (stack.collections / inside).is_dir()
    )


def _declarations(
    stack: StackFolder, declared: RoleDeclarations, description: Description
) -> Iterator[Finding]:
    packages = set(declared.packages())
    state = [PurePosixPath(path) for path in declared.state_paths()]
    for role in sorted((stack.root / "roles").glob("*")):
        tasks = [path.read_bytes() for path in sorted(role.glob("tasks/*.y*ml"))]
        variables = role_yaml.variables(_variables_of(role))
        name = f"{role_yaml.prefix(role.name)}_packages"
        if name not in variables and any(map(_INSTALLS.search, tasks)):
            yield Finding(
                file=f"roles/{role.name}/vars/main.yml",
                text="the role installs packages and declares none, so no box has them",
                next=f"list them as {name}: docs/contracts.md",
            )
    for application in description.applications:
        where = application.checkout and PurePosixPath(application.checkout.path)
        if where and not any(where.is_relative_to(path) for path in state):
            yield Finding(
                file=DESCRIPTION,
                text=f"the checkout {where} is in no state path, so a rebuild would lose it",
                next="add it to ROLE_state_paths in a role's vars/main.yml",
            )
    for server in description.databases:
        if server.package not in packages:
            yield Finding(
                file=DESCRIPTION, text=f"no role declares {server.package}, of {server.name}",
                next="correct `package`, or add it to ROLE_packages in a role's vars/main.yml",
            )  # fmt: skip


def _origins(description: Description) -> Iterator[Finding]:
    for application in description.applications:
        if application.checkout is None or application.checkout.origin is None:
            continue
        where = origin.parse(application.checkout.origin)
        if where.kind is origin.Kind.SSH and not known_hosts.knows(
            description.known_hosts, where.known_as
        ):
            yield Finding(
                file=DESCRIPTION, needed=False,
                text=f"known_hosts has no host key of {where.known_as}, where {application.name} "
                "is cloned from: whoever doesn't know it already can't clone or fetch",
                next="add the line that its administrators publish: docs/stacks.md",
            )  # fmt: skip


def _variables_of(role: Path) -> dict[str, bytes]:
    return {
        path.relative_to(role).as_posix(): path.read_bytes()
        for folder in ("defaults", "vars")
        for path in role.glob(f"{folder}/*.y*ml")
    }


def _checks(stack: StackFolder) -> Iterator[Finding]:
    for overlay in ("dev", "none"):
        try:
            catalogue.expand(expectations.load(stack.checks, overlay=overlay))
        except expectations.ExpectationError as error:
            yield Finding(file=f"{CHECKS}/", text=str(error), next="fix it: tests/parity/README.md")
            return
    if not any(stack.checks.glob("*.yml")):
        yield Finding(
            file=f"{CHECKS}/", text="nothing is expected to work, only to be as in production",
            next="add checks: tests/parity/README.md", needed=False,
        )  # fmt: skip


def _production(stack: StackFolder) -> Iterator[Finding]:
    file = stack.production / "manifest.yml"
    if not file.exists():
        yield Finding(
            file="production/manifest.yml", text="there is none: devvm can't compare VMs with it",
            next="devvm production capture --host HOST", needed=False,
        )  # fmt: skip
        return
    try:
        production.load(stack.production, "dev")
    except (manifest.ManifestError, waivers.WaiverError) as error:
        yield Finding(file="production/", text=str(error), next="devvm production lint")


def _lock(
    stack: StackFolder, declared: Sequence[str], description: Description
) -> Iterator[Finding]:
    name = stack.package_lock.name
    try:
        packages = stack.packages()
        lacking: Iterable[str] = packages.lacks(declared) if packages else ()
    except DevvmError as error:
        yield _of(error, name)
        return
    if packages is None:
        yield Finding(
            file=name, text="there is none: a box gets what the mirror has on its day",
            next="devvm release lock", needed=False,
        )  # fmt: skip
    elif lacking:
        yield Finding(
            file=name, text=f"it lacks packages that the roles declare: {', '.join(lacking)}",
            next="devvm release lock",
        )  # fmt: skip
    known = {*package_set.ARCHIVES, *(one.name for one in description.apt.repositories)}
    for archive in sorted({package.archive for package in packages or ()} - known):
        yield Finding(
            file=name, text=f"it has packages of {archive}, which is none of apt.repositories",
            next=f"name it in {DESCRIPTION}, or: devvm release lock",
        )  # fmt: skip


def _locked(stack: StackFolder) -> Iterable[str]:
    """The names in `packages.lock`; none if it can't be read, which is another finding."""
    try:
        return [package.name for package in stack.packages() or ()]
    except DevvmError:
        return ()


def _of(error: DevvmError, file: str) -> Finding:
    text = f"{error.brief}: {error.details}" if error.details else error.brief
    return Finding(file=file, text=text, next=error.resolution or "fix it")
