"""The command line's root, and the only place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from devvm.cli.commands import Commands
from devvm.cli.logfile import personal_log
from devvm.cli.output import Output
from devvm.cli.session import Session
from devvm.domain.errors import (
    DevvmError,
    ExitCode,
    InterruptedOperationError,
    OperationError,
    UsageError,
)

#: Commands whose arguments after NAME belong to another program.
_PASSING_ON = frozenset({"ssh", "exec"})

_EPILOG = "Get started:  devvm create\n\nExit codes and JSON keys: docs/exit-codes.md, docs/json.md"


def build() -> typer.Typer:
    """Build the whole command line."""
    app = typer.Typer(
        name="devvm",
        cls=Commands,
        help="A VM for every engineer, with the full application stack, as in production.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    return app


def _show_version(context: typer.Context, value: bool) -> None:
    if value:
        from devvm.cli.host.version import short

        Session.of(context).output.line(short())
        raise typer.Exit


def _stack_wanted(context: typer.Context, value: Path | None) -> Path | None:
    if value is not None:
        Session.of(context).stack = value
    return value


def _root(
    stack: Annotated[
        Path | None,
        typer.Option(
            "--stack", metavar="FOLDER", callback=_stack_wanted, is_eager=True, show_default=False,
            help="The stack to work with; defaults to the one that the current folder is in, then "
            "to the setting stack_dir, then to the reference stack.",
        ),
    ] = None,
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:  # fmt: skip
    """Options of devvm itself."""


def main(argv: Sequence[str]) -> int:
    """Run devvm and return its exit code. Raises nothing."""
    session = Session(Output(), argv)
    interrupts = _Interrupts()
    try:
        with interrupts.handled():
            code = _invoke(session, argv)
        sys.stdout.flush()
    except DevvmError as error:
        return _show(session, error)
    except KeyboardInterrupt:
        return _show(session, _interrupted())
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _show(session, _no_space(error) if full else _bug(error))
    except Exception as error:  # noqa: BLE001, RUF100 - the boundary: a person gets no traceback
        return _show(session, _bug(error))
    if interrupts.count and code == ExitCode.INTERRUPTED:  # Typer turned the exception into a code
        return _show(session, _interrupted())
    return code


@functools.cache
def _command() -> Any:  # noqa: ANN401 - Click's class, or Typer's own: by version
    """Build the whole command line once, ready to run."""
    return typer.main.get_command(build())


def _invoke(session: Session, argv: Sequence[str]) -> int:
    try:
        code = _command().main(
            args=list(argv), prog_name="devvm", obj=session, standalone_mode=False
        )
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        usage = _usage_error(error)
        if usage is None:
            raise
        if not usage.brief:  # no arguments: the help was shown
            return ExitCode.USAGE
        session.output.json = session.output.json or _asks_for_json(argv)
        raise usage from None
    return code if isinstance(code, int) else ExitCode.DONE


def _usage_error(error: Exception) -> UsageError | None:
    """Convert Typer's usage error to ours; None for any other error.

    Recognised by its attributes: the class moved from Click to Typer, and is public in neither.
    """
    if isinstance(error, DevvmError) or not hasattr(error, "format_message"):
        return None
    if type(error).__name__ == "NoArgsIsHelpError":
        return UsageError("")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "devvm"
    message = " ".join(str(error.format_message()).split())
    return UsageError(message.rstrip("."), resolution=f"{path} --help")


def _asks_for_json(argv: Sequence[str]) -> bool:
    """Whether devvm itself was given `--json`; used if Typer could not parse the arguments."""
    words = list(argv)
    if words and words[0] in _PASSING_ON:
        return False
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _show(session: Session, error: DevvmError) -> int:
    try:
        session.output.error(error)
    except BrokenPipeError:
        return _broken_pipe()
    return int(error.exit_code)


def _interrupted() -> InterruptedOperationError:
    return InterruptedOperationError("nothing more was done")


def _bug(error: Exception) -> OperationError:
    log = personal_log("bug")
    log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    bug = OperationError(
        "this is a bug in devvm",
        details=f"{type(error).__name__}: {error}",
        resolution="report it with the log; you can run the command again",
        log=log,
    )
    bug.code = "bug"
    return bug


def _no_space(error: OSError) -> DevvmError:
    return OperationError(
        "no space left on this host",
        details=str(error),
        resolution="free some space: devvm trash list, devvm box list",
    )


def _broken_pipe() -> int:
    """Exit quietly if the reader of the output is gone (`devvm list | head`)."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())  # the interpreter flushes at exit; silence that too
    return ExitCode.FAILED


class _Interrupts:
    """Turns Ctrl-C, SIGTERM and SIGHUP into KeyboardInterrupt, so that a command is undone.

    A second signal during the undo only prints a message; a third interrupts the undo.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def handled(self) -> Iterator[None]:
        previous = {number: signal.getsignal(number) for number in self._SIGNALS}
        try:
            for number in self._SIGNALS:
                if previous[number] is not signal.SIG_IGN:  # respect nohup
                    signal.signal(number, self._interrupt)
        except ValueError:  # not the main thread: a test's runner
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.count += 1
        if self.count == 2:
            os.write(2, b"\ndevvm: still cleaning up; interrupt once more to stop immediately\n")
            return
        raise KeyboardInterrupt
