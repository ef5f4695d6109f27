"""Which packages a box gets, exactly, and where their files come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from devvm.domain.errors import DevvmError, OperationError, UsageError
from devvm.domain.package_set import ARCHIVES, Package, PackageSet
from devvm.domain.release import identity
from devvm.operations.core.progress import Run
from devvm.ports.box import BuildServices
from devvm.ports.services import Services
from devvm.stack.folder import WorkingTree

#: Days for which the packages of removed boxes and failed builds are kept.
KEPT_DAYS = 90
_SHOWN = 6


def decide(
    services: Services,
    tools: BuildServices,
    run: Run,
    *,
    release: str | None = None,
    newest: bool = False,
) -> PackageSet:
    """The packages that the box of the working tree gets.

    Those of `release`, those of `packages.lock`, or else what the mirror has now.

    Args:
        services: The adapters to use.
        tools: The adapters that build boxes.
        run: Reports the phases.
        release: A release whose packages to use again.
        newest: Whether to use what the mirror has in any case.

    Raises:
        UsageError: the release is of another stack, its packages are unknown, or `packages.lock`
            can't be used.
        OperationError: the mirror can't be used.
    """
    stack = services.stack.look()
    if release is not None:
        return _of_release(services, tools, release, stack)
    declared = tools.declarations.packages()
    if stack.packages is not None and not newest:
        lacking = stack.packages.lacks(declared)
        if lacking:
            raise UsageError(
                f"packages.lock lacks packages that the roles declare: {_some(lacking)}",
                details="the roles have changed since it was written",
                resolution="devvm release lock",
            )
        return stack.packages
    with run.phase("resolve", "Asking the mirror for its packages"):
        return tools.archive.resolve(declared, detail=run.detail, log=run.log(services.state))


def known(services: Services, release: str) -> Iterator[PackageSet]:
    """The package sets that are stored with a release's box and with its record."""
    box = services.boxes.find(release)
    record = services.releases.find(release)
    for found in (
        services.boxes.package_set(box) if box else None,
        services.releases.package_set(record.release) if record else None,
    ):
        if found is not None:
            yield found


def _of_release(
    services: Services, tools: BuildServices, release: str, stack: WorkingTree
) -> PackageSet:
    wanted = identity.hash_of(release)
    kept = [stack.packages, *known(services, release), tools.cache.remembered(wanted)]
    found = [packages for packages in kept if packages is not None]
    for packages in found:
        if identity.release_hash(stack.content, packages) == wanted:
            return packages
    refused = f"the box of release {release} can't be built here"
    if services.boxes.find(release) is None and not found and wanted != stack.content:
        raise UsageError(
            refused,
            details="this host knows nothing about it; boxes are built from the working "
            f"tree, whose content is {stack.content}",
            resolution=f"check out the stack of {release}, with its packages.lock; "
            "or: devvm box build",
        )
    if found:
        raise UsageError(
            refused,
            details="it belongs to another stack; the content of the working tree is "
            f"{stack.content}",
            resolution=f"check out the stack of {release}, or: devvm box build",
        )
    raise UsageError(
        refused,
        details="its exact packages were not recorded: an older devvm built it",
        resolution="devvm box build",
    )


def repository(
    services: Services, tools: BuildServices, run: Run, packages: PackageSet, folder: Path
) -> None:
    """Make a repository of exactly these packages in a folder, from the cache and mirrors.

    Raises:
        OperationError: a file can't be downloaded, or the packages are not what the roles need.
    """
    run.detail("looking for packages in the cache")
    missing = _taken(tools, packages.packages, folder)
    dead: list[str] = []
    if missing:
        run.detail(f"downloading {len(missing)} of {len(packages)} packages")
        log = run.log(services.state)
        with tools.cache.incoming() as incoming:
            dead = tools.archive.fetch(missing, incoming, detail=run.detail, log=log)
        missing = _taken(tools, missing, folder)
    if missing:
        raise _not_to_be_had(tools, missing, dead, run.log(services.state))
    tools.repositories.index(folder, packages)
    declared = tools.declarations.packages()
    closure = tools.archive.closure(folder, declared, log=run.log(services.state))
    needless = [p.name for p in packages if (p.name, p.architecture) not in closure]
    if needless:
        raise OperationError(
            f"the package set has {len(needless)} more than the box needs: {_some(needless)}",
            details="no role declares them, and nothing that a role declares depends on them",
            resolution="devvm release lock",
        )


def collect(services: Services, tools: BuildServices) -> int:
    """Remove from the cache what no box, recorded release or recent build needs.

    Returns:
        How many bytes were freed.
    """
    try:
        names = [box.release for box in services.boxes.list()]
        names += [record.release for record in services.releases.list()]
        sets = [packages for name in names for packages in known(services, name)]
    except OperationError:  # something can't be read, and what it needs is unknown: keep everything
        return 0
    return tools.cache.collect({identity.hash_of(name) for name in names}, sets, KEPT_DAYS)


def demand_exact(packages: PackageSet, tree: dict[tuple[str, str], str], *, by: str) -> None:
    """Make sure that a root file system has these packages and no others.

    Args:
        packages: The packages that it must have.
        tree: The versions of those that it has, by name and architecture.
        by: What has changed it, for the error.

    Raises:
        OperationError: it has others; lists them.
    """
    differences = packages.differs_from(tree)
    if differences:
        raise OperationError(
            f"{by} left packages that differ from the box's package set",
            details="\n".join(differences[:20]),
            resolution="declare in roles/*/vars/main.yml what the roles install, and nothing that "
            "they remove; then: sudo devvm box build",
        )


def _taken(tools: BuildServices, packages: Sequence[Package], folder: Path) -> list[Package]:
    """Take what the cache has; return what it lacks."""
    return [p for p in packages if not tools.cache.take(p, tools.repositories.file(folder, p))]


def _not_to_be_had(
    tools: BuildServices, missing: Sequence[Package], dead: Sequence[str], log: Path
) -> DevvmError:
    asked = {p.archive: tools.archive.mirrors(p.archive) for p in missing}
    unknown = sorted(name for name, mirrors in asked.items() if not mirrors)
    if unknown:
        return UsageError(
            f"packages.lock has packages of repositories that stack.yml lacks: {_some(unknown)}",
            details="so it is not known where to download them",
            resolution="name them in stack.yml (apt.repositories), or: devvm release lock",
        )
    names = [f"{package.name} {package.version}" for package in missing]
    plural = "package" if len(missing) == 1 else "packages"
    mirrors = dict.fromkeys(mirror for name in sorted(asked) for mirror in asked[name])
    details = f"not in the cache, and not on: {', '.join(mirrors)}"
    if dead:
        details += f"\ncan't be reached: {', '.join(dict.fromkeys(dead))}"
    settings = ["box.mirror"] * any(name in ARCHIVES for name in asked)
    settings += ["box.repository_mirrors"] * any(name not in ARCHIVES for name in asked)
    return OperationError(
        f"{len(missing)} {plural} of the box can't be downloaded: {_some(names)}",
        details=details,
        resolution="to take what the mirror has now, as another release: --newest; or set a "
        f"mirror or cache that keeps old versions: {', '.join(settings)} (devvm config show)",
        log=log,
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
