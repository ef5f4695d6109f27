"""The errors of devvm. Each says what happened, why, and what to type next.

This module imports nothing of devvm's. Only `devvm.cli.app` shows errors to people and turns them
into exit codes.
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
    """An error, as a person sees it.

    Args:
        brief: What happened, in one line; the full stop may be omitted.
        details: Why, as far as it is known; may have several lines.
        resolution: What to type next.
        log: The file with the raw output of the tool that failed.
        cause: The error of the step that made the whole operation fail.
    """

    exit_code: ExitCode = ExitCode.FAILED
    #: A stable key for this kind of error; part of the JSON interface.
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
        """What failed, in one line: `brief` of the innermost cause."""
        return self._cause.failure if self._cause else self.brief


class OperationError(DevvmError):
    """An operation started and failed."""


class UsageError(DevvmError):
    """Something typed, or a configuration file, is invalid."""

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
    """The host lacks something devvm needs: a package, a daemon, memory, disk space, rights."""

    exit_code = ExitCode.HOST_NOT_READY
    code = "host-not-ready"


class LockedError(DevvmError):
    """Somebody else is changing this VM or box."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class InterruptedOperationError(DevvmError):
    """The user interrupted devvm (Ctrl-C, SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"
