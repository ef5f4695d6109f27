"""The error tree. An error is interface: what happened, why, and what to type next.

Imports nothing of devvm's. `devvm.cli.app` is the only place that shows these to a person and
turns them into exit codes.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Every exit code of devvm (docs/exit-codes.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DIFFERS = 3
    HOST_NOT_READY = 4
    LOCKED = 5
    INTERRUPTED = 130


class DevvmError(Exception):
    """What a person is told when something failed.

    Args:
        brief: What happened, one line, no full stop needed.
        details: Why: the cause as far as it is known; may have several lines.
        resolution: What to type next.
        log: The file with the raw output of the tool that failed.
        cause: The error of the step, where this one is of the whole that it was a step of.
    """

    exit_code: ExitCode = ExitCode.FAILED
    #: Stable key of this kind of error, part of the JSON interface.
    code: str = "failed"

    def __init__(
        self,
        brief: str,
        *,
        details: str | None = None,
        resolution: str | None = None,
        log: Path | None = None,
        cause: DevvmError | None = None,
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.resolution = resolution
        self.log = log
        self._cause = cause

    @property
    def failure(self) -> str:
        """What failed, one line; not what it failed in, where `brief` says that first."""
        return self._cause.failure if self._cause else self.brief


class OperationError(DevvmError):
    """An operation started and failed."""


class UsageError(DevvmError):
    """What was typed, or a configuration file, can't be accepted."""

    exit_code = ExitCode.USAGE
    code = "usage"


class NotFoundError(UsageError):
    """Something named does not exist."""

    code = "not-found"


class ExistsError(UsageError):
    """Something named exists already."""

    code = "exists"


class ParityError(DevvmError):
    """The VM does not match what it was checked against."""

    exit_code = ExitCode.DIFFERS
    code = "differs"


class HostNotReadyError(DevvmError):
    """The host lacks something that devvm needs: a package, a daemon, memory, disk, rights."""

    exit_code = ExitCode.HOST_NOT_READY
    code = "host-not-ready"


class LockedError(DevvmError):
    """Somebody else is changing this VM or box."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class InterruptedOperationError(DevvmError):
    """The person interrupted (Ctrl-C, SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"
