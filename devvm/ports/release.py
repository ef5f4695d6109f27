"""The port for recorded releases. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from devvm.domain.package_set import PackageSet
from devvm.domain.release.stack import Release, Stack
from devvm.stack.folder import StackFolder


class ReleaseStore(Protocol):
    """The releases recorded on this host, each with its stack and production."""

    def list(self) -> list[Release]:
        """All recorded releases, newest first, including retired ones."""

    def find(self, release: str) -> Release | None:
        """The recorded release, whatever the date in its name, or None."""

    def stack(self, release: str) -> Stack:
        """The stack of a recorded release.

        Raises:
            OperationError: it can't be read.
        """

    def working_tree_stack(self, packages: Mapping[str, str]) -> Stack:
        """The working tree's stack, as a release would record it, with its box's packages.

        Raises:
            OperationError: it can't be read.
        """

    def folder(self, release: str) -> StackFolder | None:
        """The folder of a recorded release's stack; None if all of it isn't on record."""

    def package_set(self, release: str) -> PackageSet | None:
        """The exact packages of a recorded release; None if they weren't recorded."""

    def production_sha256(self, release: str) -> str:
        """A hash over the production that is recorded with a release."""

    def configured_production_sha256(self) -> str:
        """The same hash over the production that this devvm is configured with."""

    def write(self, release: Release, packages: PackageSet | None = None) -> None:
        """Record a release, with the working tree's stack and current production, all or nothing.

        If it is recorded already, only its production is replaced. `packages` are its exact
        packages; None if an older devvm built its box.
        """

    def change(self, release: Release) -> None:
        """Update the record of a release; its stack and production stay the same."""
