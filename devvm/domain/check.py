"""What came of checking a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class MovedPackage:
    """A package that is as in the release, and not as in production.

    Attributes:
        name: Its name.
        production: Production's version; None: it is not there.
        found: The version here; None: it is not here.
    """

    name: str
    production: str | None
    found: str | None

    @property
    def label(self) -> str:
        """It with its version, for people: `nginx-common 1.22.1-9+deb12u4`."""
        return f"{self.name} {self.found}" if self.found else self.name

    @property
    def change(self) -> str:
        """From which version to which: `1.5.2-6+deb12u2 -> 1.5.2-6+deb12u3`."""
        return f"{self.production or 'not there'} -> {self.found or 'not there'}"


class Outcome(StrEnum):
    """Result of one check."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    WAIVED = "waived"  # differs, and a waiver allows it
    AHEAD = "ahead"  # a package as in the VM's release, not as in production; what it brought


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One expectation and what came of it.

    Attributes:
        name: Stable: `unit/nginx.service`.
        role: Which role answers for it.
        outcome: What came of it.
        message: What is otherwise than expected, in a line.
        seconds: How long the comparison took.
        difference: Of an item of the manifest: `differs`, `missing` or `extra`.
        expected: Of an item: the facts that differ, as they should be.
        found: Of an item: the same facts as they are.
        diff: Of a text: a unified diff.
        waiver: Who allows it, until when and why.
        package: Of what is ahead: the package that it comes with, and its version.
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
        packages_from: What told which packages the release has: its `box` here, or the `record`
            of the release; None: nothing does, and every package that is not as in production
            fails.
    """

    vm: str
    release: str
    checks: tuple[CheckResult, ...]
    seconds: float
    packages_from: Literal["box", "record"] | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed or is waived (and there was one)."""
        return bool(self.checks) and not any(self.failures())

    def failures(self) -> Iterable[CheckResult]:
        """The checks that did not pass, and that nothing allows to fail."""
        return (c for c in self.checks if c.outcome in (Outcome.FAILED, Outcome.ERROR))

    def waived(self) -> Iterable[CheckResult]:
        """The checks that did not pass, and that a waiver allows to fail."""
        return (c for c in self.checks if c.outcome is Outcome.WAIVED)

    def ahead(self) -> Iterable[CheckResult]:
        """The packages of the VM's release that production has otherwise, and what they brought."""
        return (c for c in self.checks if c.outcome is Outcome.AHEAD)

    def moved(self) -> tuple[MovedPackage, ...]:
        """The packages of the VM's release that production has otherwise."""
        return tuple(
            MovedPackage(
                name=check.name.partition("/")[2],
                production=(check.expected or {}).get("version"),
                found=(check.found or {}).get("version"),
            )
            for check in self.ahead()
            if check.name.startswith("package/")
        )
