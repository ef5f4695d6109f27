"""The port to the releases on record. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from devvm.domain.package_set import PackageSet
from devvm.domain.release.stack import Release, Stack


class ReleaseStore(Protocol):
    """The releases on record on this host, each with its roles, playbooks and production."""

    def list(self) -> list[Release]:
        """Every release on record, the newest first; those that are retired too."""

    def find(self, release: str) -> Release | None:
        """The release, whenever its box was built, or None."""

    def stack(self, release: str) -> Stack:
        """What a release on record consists of.

        Raises:
            OperationError: it can't be read.
        """

    def stack_in_hand(self, packages: Mapping[str, str]) -> Stack:
        """The stack in hand, as it is put on record, with its box's packages.

        Raises:
            OperationError: it can't be read.
        """

    def package_set(self, release: str) -> PackageSet | None:
        """The exact packages of a release on record; None where they are not kept with it."""

    def production_sha256(self, release: str) -> str:
        """A hash over what production is, as it is kept with a release."""

    def production_in_hand_sha256(self) -> str:
        """The same hash over what production is according to this devvm's configuration."""

    def write(self, release: Release, packages: PackageSet | None = None) -> None:
        """Put a release on record, with the stack and the production in hand; whole or not at all.

        Its exact packages are kept with it; a box of an older devvm has none on record.

        One that is on record already gets the production in hand.
        """

    def change(self, release: Release) -> None:
        """Write again what is on record of a release; its stack and production stay."""
