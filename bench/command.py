"""Runs and times the commands that are measured; an interrupt lets them tidy up."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

#: How often commands that run side by side are looked at.
_POLL = 0.05
#: Seconds that an interrupted command may take to undo what it did.
_UNDO = 300.0


class CommandError(Exception):
    """A command that is measured failed; the text is one line."""


class UnavailableError(CommandError):
    """This machine, this user or this devvm can't do it; the text is one line."""


def say(text: str) -> None:
    """Tell the person what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@dataclass
class Command:
    """A command that runs, in a process group of its own: Ctrl-C reaches the benchmark only.

    Attributes:
        argv: The command.
        process: Its process.
        output: What it printed on standard output.
        begun: When it was started (`time.monotonic`).
        seconds: How long it took; None while it runs.
    """

    argv: Sequence[str]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    begun: float
    seconds: float | None = None

    def look(self) -> bool:
        """Whether it has ended; notes when."""
        if self.seconds is None and self.process.poll() is not None:
            self.seconds = time.monotonic() - self.begun
        return self.seconds is not None

    def wait(self) -> None:
        """Wait for it to end."""
        self.process.wait()
        self.look()


@dataclass(frozen=True)
class Ended:
    """What a command printed, how long it took, and its exit code."""

    stdout: str
    seconds: float
    code: int

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as a JSON object.

        Raises:
            CommandError: it is something else.
        """
        try:
            found = json.loads(self.stdout)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CommandError("it did not print a JSON object")
        return found


@dataclass
class Runner:
    """Runs commands, and appends what they say on standard error to a log.

    Attributes:
        log: The log.
        running: What runs now.
    """

    log: Path
    running: list[Command] = field(default_factory=list)

    def run(
        self, argv: Sequence[str], *, good: Sequence[int] = (0,), cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Ended:  # fmt: skip
        """Run one command and wait for it.

        Args:
            argv: The command.
            good: Exit codes with which it succeeded.
            cwd: Its working directory.
            env: Variables in addition to this process's.

        Raises:
            CommandError: it failed.
        """
        command = self._start(argv, cwd, env)
        try:
            command.wait()
        except BaseException:
            self._interrupt()
            raise
        return self._finish(command, good)

    def run_together(
        self,
        argvs: Sequence[Sequence[str]],
        *,
        good: Sequence[int] = (0,),
        meanwhile: Callable[[float], None] | None = None,
    ) -> list[Ended]:
        """Run commands side by side and wait for all of them.

        Args:
            argvs: The commands.
            good: Exit codes with which one succeeded.
            meanwhile: Called again and again while they run, with the seconds since the start; it
                must return soon.

        Raises:
            CommandError: one failed; all have ended.
        """
        try:
            commands = [self._start(argv, None, None) for argv in argvs]
            while [command for command in commands if not command.look()]:  # looks at each
                if meanwhile is not None:
                    meanwhile(time.monotonic() - commands[0].begun)
                time.sleep(_POLL)
        except BaseException:
            self._interrupt()
            raise
        failed: CommandError | None = None
        ended = []
        for command in commands:
            try:
                ended.append(self._finish(command, good))
            except CommandError as error:  # the others' outputs still have to be closed
                failed = error
        if failed is not None:
            raise failed
        return ended

    def _start(self, argv: Sequence[str], cwd: Path | None, env: dict[str, str] | None) -> Command:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _finish
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(argv)}\n")
            log.flush()
            begun = time.monotonic()
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=log, cwd=cwd,
                env=None if env is None else os.environ | env, process_group=0,
            )  # fmt: skip
        command = Command(argv, process, output, begun)
        self.running.append(command)
        return command

    def _finish(self, command: Command, good: Sequence[int]) -> Ended:
        self.running.remove(command)
        command.output.seek(0)
        stdout = command.output.read().decode(errors="replace")
        command.output.close()
        assert command.seconds is not None
        ended = Ended(stdout, command.seconds, command.process.returncode)
        if ended.code not in good:
            raise CommandError(f"{shlex.join(command.argv[:4])} failed: {_why(ended)}")
        return ended

    def _interrupt(self) -> None:
        """Interrupt what runs, as Ctrl-C would, and wait until it has tidied up."""
        for command in self.running:
            if not command.look():
                command.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _UNDO
        for command in self.running:
            try:
                command.process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(command.process.pid, signal.SIGKILL)
                command.process.wait()
            command.output.close()
        self.running.clear()


def _why(ended: Ended) -> str:
    """The error that devvm printed, in one line, or the exit code."""
    try:
        error = ended.json["error"]
        details = " ".join(str(error["details"] or "").split())
        return f"{error['brief']} ({details})" if details else str(error["brief"])
    except (CommandError, KeyError, TypeError):
        return f"exit code {ended.code}"
