"""Host set-up: check what a host lacks, and install it.

Checking takes a fraction of a second, so every command that needs the host can afford it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devvm.domain.errors import HostNotReadyError
from devvm.operations.core.progress import Run
from devvm.ports.setup import SetupStep


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """A step of host set-up, and what it has left to do."""

    key: str
    title: str
    optional: bool
    needed: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.needed


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """What a host has and lacks."""

    steps: tuple[StepStatus, ...]

    @property
    def ready(self) -> bool:
        """Whether devvm works here: only optional steps are left, if any."""
        return all(step.done or step.optional for step in self.steps)

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do at all."""
        return all(step.done for step in self.steps)

    def needed(self) -> list[str]:
        """What set-up has left to do, in words."""
        return [line for step in self.steps for line in step.needed]


def check(steps: Iterable[SetupStep]) -> HostStatus:
    """Check every step. Changes nothing."""
    return HostStatus(
        steps=tuple(
            StepStatus(
                key=step.key, title=step.title, optional=step.optional,
                needed=tuple(step.missing()),
            )
            for step in steps
        )
    )  # fmt: skip


def require(steps: Iterable[SetupStep]) -> None:
    """Make sure that the host is ready.

    Raises:
        HostNotReadyError: it isn't; lists what is missing.
    """
    status = check(step for step in steps if not step.optional)
    if not status.ready:
        raise not_ready(status)


def not_ready(status: HostStatus) -> HostNotReadyError:
    """The error that lists what a host lacks; optional steps don't count."""
    lacking = [line for step in status.steps if not step.optional for line in step.needed]
    return HostNotReadyError(
        "this host is not ready for devvm",
        details="still to do:\n" + "\n".join(f"- {line}" for line in lacking),
        resolution="devvm setup --yes",
    )


def apply(steps: Sequence[SetupStep], run: Run, log: Path) -> HostStatus:
    """Do what is missing, step by step, and check again.

    Raises:
        HostNotReadyError: something is still missing after its step.
        DevvmError: a step failed; the earlier ones stay done.
    """
    for step in steps:
        if not step.missing():
            continue
        with run.phase(step.key, step.title):
            step.apply(run.detail, log)
            left = [] if step.optional else step.missing()
            if left:
                raise HostNotReadyError(
                    f"setup did not complete: {step.title.lower()}",
                    details="still to do:\n" + "\n".join(f"- {line}" for line in left),
                    resolution="devvm setup",
                    log=log,
                )
    return check(steps)
