"""The code of applications that have a repository of their own, in a box.

A box needs some code, or its services could not start. Which commit that is, is no part of the
release: engineers get a checkout, and production is deployed to.
"""

from __future__ import annotations

from devvm.domain.vm import Target
from devvm.operations.core.progress import Run
from devvm.operations.provision import checkouts
from devvm.ports.services import Services

#: Run as root in the machine, with a tar archive as its input.
_RECEIVE = """set -eu
install -d -m 0755 "$1"
tar --extract --no-same-owner --directory "$1"
"""


def deploy(services: Services, target: Target, run: Run) -> dict[str, str]:
    """Put the newest commit of each application's branch where its deployed code belongs.

    An application that has no repository, or no place for deployed code, is left to the roles.

    Returns:
        The commits, by application.

    Raises:
        OperationError: a repository can't be read, or the machine can't be reached.
        NotFoundError: a repository lacks the branch.
    """
    description = services.stack.description()
    deployed = {}
    for one in checkouts.with_repositories(description, {}):
        if one.code is not None:
            checkouts.bring(services, description, one, run)
            with services.origins.archive(one.origin, one.branch) as (commit, archive):
                argv = ["sudo", "sh", "-c", _RECEIVE, "sh", one.code]
                services.shell.transfer(target, argv, source=archive)
            deployed[one.name] = commit
    return deployed
