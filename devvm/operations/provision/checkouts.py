"""Engineers' checkouts of applications that have a repository of their own.

The host reads the repository with the person's credentials, into a mirror, and the VM gets a bundle
of it over the SSH connection that devvm has. So a VM needs no credentials to be made, and nobody
waits for its network.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devvm.domain.errors import DevvmError, NotFoundError, UsageError
from devvm.domain.origin import Origin, parse
from devvm.domain.vm import Target
from devvm.operations.core import own_stack
from devvm.operations.core.progress import Run
from devvm.ports.services import Services
from devvm.stack import variables
from devvm.stack.description import Description

#: Run as root in the guest, with the bundle as its input; provide-checkout removes it.
_RECEIVE = """set -eu
umask 077
install -d -m 0711 /var/cache/devvm
cat >"/var/cache/devvm/$1.new"
mv -T "/var/cache/devvm/$1.new" "/var/cache/devvm/$1.bundle"
"""
#: Run as root in the guest; prints which of these checkouts don't exist.
_MISSING = """for path; do [ -e "$path/.git" ] || echo "$path"; done"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A checkout of an application that has a repository.

    Attributes:
        name: The application.
        path: Where the checkout is in the guest.
        origin: The repository.
        branch: The branch to check out.
        code: Where deployed code is in a box; None if the roles put it there.
    """

    name: str
    path: str
    origin: Origin
    branch: str
    code: str | None = None


def refuse_unknown(services: Services, release: str | None, names: Collection[str]) -> None:
    """Make sure that a branch can be chosen for these applications.

    Raises:
        UsageError: the stack has no such application, or it has no repository.
    """
    stack = own_stack.of(services, release) if release else services.stack
    known = [one.name for one in with_repositories(stack.description(), {})] if names else []
    for name in sorted({*names} - {*known}):
        raise UsageError(
            f"no branch can be chosen for {name}",
            details=f"the applications with a repository are: {', '.join(known)}"
            if known
            else "no application of the stack has a repository (`origin` in stack.yml)",
            resolution="devvm create --branch APPLICATION=BRANCH",
        )


def fetch(services: Services, release: str, run: Run) -> None:
    """Bring the mirrors of a release's applications up to date, before there is a VM.

    A server that can't be reached now is noted, if there is a mirror.

    Raises:
        OperationError: a repository can't be read.
        NotFoundError: it lacks the branch that is wanted.
    """
    description = own_stack.of(services, release).description()
    wanted = [*with_repositories(description, services.config.engineer.branches)]
    if wanted:
        with run.phase("fetch", f"Fetching {_names(wanted)}"):
            for one in wanted:
                bring(services, description, one, run)


def provide(
    services: Services, target: Target, release: str, run: Run, *, new: bool
) -> list[dict[str, Any]]:
    """Bring the content of missing checkouts into a VM.

    Args:
        services: The adapters to use.
        target: The VM, as devvm's own account.
        release: Its release.
        run: Reports the phase; gets a note for each checkout that can't be had now.
        new: Whether the VM is being made: it has no checkouts yet, `fetch` was called, and the
            branches are those that the person chose.

    Returns:
        `engineer_checkouts` for the role: those that can be had. An application without a checkout
        runs the deployed code.

    Raises:
        OperationError: the VM can't be reached; with `new`, a checkout can't be had.
    """
    description = own_stack.of(services, release).description()
    # A VM that exists may be somebody else's, so the person's branches don't count.
    described = [*with_repositories(description, services.config.engineer.branches if new else {})]
    wanted = described if new else _missing(services, target, described)
    lacking: set[str] = set()
    if wanted:
        with run.phase("checkouts", f"Copying {_names(wanted)} to the VM"):
            for one in wanted:
                try:
                    if not new:
                        bring(services, description, one, run)
                    _deliver(services, target, one)
                except DevvmError as error:
                    if new:
                        raise
                    lacking.add(one.name)
                    run.note(
                        f"There is no checkout of {one.name} yet: {error.brief} (to fix it: "
                        f"{error.resolution}). The next rebuild or update tries again"
                    )
    branches = {one.name: one.branch for one in described}
    return [
        {**checkout, "branch": branches.get(checkout["name"], checkout["branch"])}
        for checkout in variables.checkouts(description)
        if checkout["name"] not in lacking
    ]


def with_repositories(description: Description, branches: Mapping[str, str]) -> Iterator[Wanted]:
    """The checkouts of applications that have a repository, with the branches that count."""
    for application in description.applications:
        checkout = application.checkout
        if checkout is not None and checkout.origin is not None:
            yield Wanted(
                name=application.name,
                path=checkout.path,
                origin=parse(checkout.origin),
                branch=branches.get(application.name, checkout.branch),
                code=checkout.code,
            )


def _names(wanted: list[Wanted]) -> str:
    return ", ".join(one.name for one in wanted)


def _missing(services: Services, target: Target, wanted: list[Wanted]) -> list[Wanted]:
    if not wanted:
        return []
    argv = ["sudo", "sh", "-c", _MISSING, "sh", *(one.path for one in wanted)]
    _, out, _ = services.shell.run(target, argv)
    return [one for one in wanted if one.path in out.splitlines()]


def bring(services: Services, description: Description, one: Wanted, run: Run) -> None:
    """Bring a mirror up to date, and make sure that it has the branch.

    Raises:
        OperationError: the repository can't be read.
        NotFoundError: it lacks the branch.
    """
    run.detail(one.name)
    known_hosts = description.known_hosts
    failure = services.origins.fetch(one.origin, known_hosts=known_hosts, detail=run.detail)
    if failure:
        run.note(f"{one.name} is as this host last fetched it: {failure}")
    branches = services.origins.branches(one.origin)
    if one.branch not in branches:
        near = difflib.get_close_matches(one.branch, branches, n=3)
        raise NotFoundError(
            f"{one.name} has no branch {one.branch}",
            details=f"similar ones in {one.origin.text}: {', '.join(near)}"
            if near
            else f"{one.origin.text} has {len(branches)} branches",
            resolution=f"git ls-remote --heads {one.origin.text}",
        )


def _deliver(services: Services, target: Target, one: Wanted) -> None:
    argv = ["sudo", "sh", "-c", _RECEIVE, "sh", one.name]
    with services.origins.bundle(one.origin) as bundle:
        services.shell.transfer(target, argv, source=bundle)
