"""The results of checking a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class MovedPackage:
    """A package whose version is as in the release, but not as in production.

    Attributes:
        name: Its name.
        production: The version in production; None if it isn't there.
        found: The version on this machine; None if it isn't here.
    """

    name: str
    production: str | None
    found: str | None

    @property
    def label(self) -> str:
        """Name and version, for people: `nginx-common 1.22.1-9+deb12u4`."""
        return f"{self.name} {self.found}" if self.found else self.name

    @property
    def change(self) -> str:
        """The change of its version: `1.5.2-6+deb12u2 -> 1.5.2-6+deb12u3`."""
        return f"{self.production or 'not there'} -> {self.found or 'not there'}"


class Outcome(StrEnum):
    """The outcome of one check."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    WAIVED = "waived"  # differs, and a waiver allows it
    AHEAD = "ahead"  # a package is as in the VM's release, not as in production; or comes with one


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: A stable name: `unit/nginx.service`.
        role: The role responsible for it.
        outcome: Its outcome.
        message: What differs from the expectation, in one line.
        seconds: How long the comparison took.
        difference: For an item of the manifest: `differs`, `missing` or `extra`.
        expected: For an item: the facts that differ, as expected.
        found: For an item: the same facts, as found.
        diff: For a text: a unified diff.
        waiver: Who allows the difference, until when and why.
        package: If ahead: the package that it comes with, and its version.
    """

    name: str
    role: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    difference: str | None = None
    expected: Mapping[str, Any] | None = None
    found: Mapping[str, Any] | None = None
    diff: str | None = None
    waiver: str | None = None
    package: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of one verification.

    Attributes:
        vm: The VM's name.
        release: Its release.
        checks: The results.
        seconds: How long it took.
        packages_from: Where the release's package versions were read from: its `box` on this host,
            or the `record` of the release. None if they are unknown; then every package that
            differs from production fails.
    """

    vm: str
    release: str
    checks: tuple[CheckResult, ...]
    seconds: float
    packages_from: Literal["box", "record"] | None = None

    @property
    def passed(self) -> bool:
        """Whether there are any checks, and none failed."""
        return bool(self.checks) and not any(self.failures())

    def failures(self) -> Iterable[CheckResult]:
        """The checks that failed and aren't allowed to."""
        return (c for c in self.checks if c.outcome in (Outcome.FAILED, Outcome.ERROR))

    def waived(self) -> Iterable[CheckResult]:
        """The checks that failed, but are allowed to by a waiver."""
        return (c for c in self.checks if c.outcome is Outcome.WAIVED)

    def ahead(self) -> Iterable[CheckResult]:
        """The checks that differ because the VM's release has other packages than production."""
        return (c for c in self.checks if c.outcome is Outcome.AHEAD)

    def moved(self) -> tuple[MovedPackage, ...]:
        """The packages of the VM's release that differ from production."""
        return tuple(
            MovedPackage(
                name=check.name.partition("/")[2],
                production=(check.expected or {}).get("version"),
                found=(check.found or {}).get("version"),
            )
            for check in self.ahead()
            if check.name.startswith("package/")
        )
