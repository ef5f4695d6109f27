"""The repositories that applications are cloned from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from devvm.domain.origin import Origin
from devvm.ports.hypervisor import Detail


class Origins(Protocol):
    """Repositories, each with a mirror on this host; read with the person's own credentials."""

    def fetch(self, origin: Origin, *, known_hosts: Sequence[str], detail: Detail) -> str:
        """Bring the mirror of a repository up to date, or make it.

        `known_hosts` has lines for servers whose SSH host keys are accepted, besides those that
        the person knows. Returns why an existing mirror could not be updated now; empty if it was.
        """

    def branches(self, origin: Origin) -> list[str]:
        """The branches in the mirror."""

    def archive(self, origin: Origin, branch: str) -> AbstractContextManager[tuple[str, Path]]:
        """The newest commit of a branch in the mirror, and its files as a tar archive.

        The archive is removed at the end.
        """

    def bundle(self, origin: Origin) -> AbstractContextManager[Path]:
        """A file with the mirror's branches and tags for `git clone`; removed at the end."""
