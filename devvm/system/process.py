"""The only place that starts processes.

Argument lists, never a shell; closed standard input; a rebuilt environment; raw output into a log
file; a failure names the command so that a person can replay it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devvm.domain.errors import HostNotReadyError, OperationError

#: Variables that a tool may inherit. Everything else is dropped, so that a person's shell can't
#: change what devvm does, and no secret in it reaches a child's /proc/PID/environ.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TERM", "TMPDIR", "USER",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
    "http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "SSL_CERT_FILE", "VAGRANT_HOME",
)  # fmt: skip

#: A child is told to end when devvm dies, however that happens: what a killed command had begun
#: must not go on beside the command that is typed next and undoes it. Daemons that a child
#: leaves behind are not meant: a fork is free of it (prctl(2), PR_SET_PDEATHSIG).
_TIED = ("setpriv", "--pdeathsig")

#: Nor may it begin where devvm died before it could be told: its parent is another one by then.
#: Arguments: devvm's process number, and the command.
_UNLESS_ORPHANED = ("sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')

#: A tool gets mounts and process numbers of its own: the kernel ends all of them with its first
#: process, however that ends, and that one with `unshare` (which only SIGKILL can end early).
_ISOLATED = (
    "unshare", "--mount", "--propagation=private", "--pid", "--mount-proc", "--kill-child=SIGKILL",
    "--",
)  # fmt: skip

#: Commands that run now, and the threads that wait for them.
_awaited: dict[subprocess.Popen[str], int] = {}


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A finished process."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ProcessError(OperationError):
    """A command ended with a code other than 0, or did not end in time."""

    code = "process"

    def __init__(self, argv: Sequence[str], returncode: int, output: str, log: Path | None) -> None:
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(
            f"{Path(argv[0]).name} failed (exit code {returncode})",
            details=tail or "it printed nothing",
            resolution=f"to see it again: {shlex.join(argv)}",
            log=log,
        )
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that a tool gets: the few inherited variables and `extra`."""
    env = {k: os.environ[k] for k in _INHERITED if k in os.environ}
    env.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    for directory in ("/usr/sbin", "/sbin"):  # an ordinary user's PATH on Debian lacks them
        if directory not in env["PATH"].split(":"):
            env["PATH"] += f":{directory}"
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
    sudo: bool = False,
) -> Completed:
    """Run a command to its end and return what it printed.

    Args:
        argv: The command, one argument an item.
        check: Raise when the exit code is not 0.
        timeout: Seconds until the command's whole process group is killed.
        cwd: Its working directory.
        env: Variables on top of the inherited few.
        stdin: Text for its standard input; closed otherwise. The way for secrets: never in argv.
        log: A file that output is appended to, with the command line before it.
        sudo: Run it as root; nothing is added where this process is root. Never asks: a command
            that needs rights gets them first, on the terminal (`sudo -v`).

    Raises:
        ProcessError: exit code not 0 (with `check`), or the time ran out.
        HostNotReadyError: the program is not installed.
    """
    args = _argv(argv, sudo=sudo)
    with _awaiting(_start(args, cwd=cwd, env=env, stdin=_pipe(stdin))) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            out, err = _rest(process)
            _append(log, args, out + err)
            raise ProcessError(
                args, 124, f"{out}{err}\n(timed out after {timeout} s)", log
            ) from None
        except BaseException:  # an interrupt must not leave the child behind
            _kill_group(process)
            raise
    _append(log, args, out + err)
    if check and process.returncode:
        raise ProcessError(args, process.returncode, err or out, log)
    return Completed(argv=tuple(args), returncode=process.returncode, stdout=out, stderr=err)


def stream(
    argv: Sequence[str | os.PathLike[str]],
    on_line: Callable[[str], None],
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    sudo: bool = False,
    stop_grace: float = 0,
    isolated: bool = False,
) -> int:
    r"""Run a command and hand over each line of its output (both streams) as it appears.

    A line that ends in `\r` counts too, so that progress meters are seen. On an interrupt the
    command is killed; with `stop_grace` it first gets SIGTERM and so many seconds, for a tool
    that has children in sessions of their own to stop.

    A command that is `isolated` leaves no mount and no process behind, whatever it started and
    however it or devvm ends; only root can have that. What it mounts is seen by itself alone.

    Raises:
        ProcessError: exit code not 0 (with `check`).
        HostNotReadyError: the program is not installed.
    """
    args = _argv(argv, sudo=sudo)
    tail: deque[str] = deque(maxlen=30)
    started = _start(args, cwd=cwd, env=env, merge=True, isolated=isolated)
    with _awaiting(started) as process, _log_file(log, args) as sink:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sink.write(line)
                tail.append(line)
                on_line(line.rstrip())
        except BaseException:
            _stop(process, stop_grace)
            raise
    if check and process.returncode:
        raise ProcessError(args, process.returncode, "".join(tail), log)
    return process.returncode


def transfer(
    argv: Sequence[str | os.PathLike[str]],
    *,
    source: Path | None = None,
    destination: Path | None = None,
    timeout: float | None = None,
) -> None:
    """Run a command with a file as its standard input, or its standard output into a file.

    Bytes as they are, however many. A new file is its owner's alone to read.

    Raises:
        ProcessError: exit code not 0, or the time ran out; the file may hold a part.
        HostNotReadyError: the program is not installed.
    """
    args = _argv(argv, sudo=False)
    with ExitStack() as files:
        stdin: IO[bytes] | int = subprocess.DEVNULL
        if source is not None:
            stdin = files.enter_context(source.open("rb"))
        stdout: IO[bytes] | int = subprocess.DEVNULL
        if destination is not None:
            descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            stdout = files.enter_context(os.fdopen(descriptor, "wb"))
        with _awaiting(_start(args, stdin=stdin, output=stdout)) as process:
            try:
                _, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                raise ProcessError(args, 124, f"timed out after {timeout} s", None) from None
            except BaseException:
                _kill_group(process)
                raise
    if process.returncode:
        raise ProcessError(args, process.returncode, err, None)


def kill_those_of_other_threads() -> None:
    """Kill the commands that other threads wait for; these get a `ProcessError`.

    Python tells the main thread alone of an interrupt, and the others would wait on. Whoever calls
    this goes on calling it until they have ended: one may be just about to start its command.
    """
    for process, thread in _awaited.copy().items():
        if thread != threading.get_ident() and process.poll() is None:
            _kill_group(process)


def interactive(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a command on this terminal (ssh, sudo, an editor) and return its exit code.

    Ctrl-C is the command's own matter: the terminal sends it to both, and we wait for its answer.
    """
    args = _argv(argv, sudo=False)
    # A handler, unlike SIG_IGN, is not inherited by the command.
    previous = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        return subprocess.run(args, env=environment(env), check=False).returncode
    except FileNotFoundError:
        raise _not_installed(args[0]) from None
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def background(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    sudo: bool = False,
    stop_signal: signal.Signals = signal.SIGTERM,
    stop_timeout: float = 30,
    death_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[str]]:
    """Keep a command running beside this process; stop its process group at the end.

    Where devvm itself is killed, the command gets `death_signal`: SIGKILL for one that would go on
    for a while to put things in order, and meet the command that is typed next.
    """
    args = _argv(argv, sudo=sudo)
    with _log_file(log, args) as sink:
        process = _start(args, env=env, merge=True, output=sink, death_signal=death_signal)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(stop_signal)
                deadline = time.monotonic() + stop_timeout
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
            _kill_group(process)
            process.wait()


def _argv(argv: Sequence[str | os.PathLike[str]], *, sudo: bool) -> list[str]:
    args = [os.fspath(a) for a in argv]
    return ["sudo", "-n", "--", *args] if sudo and os.geteuid() != 0 else args


def _start(
    args: list[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    merge: bool = False,
    output: IO[str] | IO[bytes] | int = subprocess.PIPE,
    death_signal: signal.Signals = signal.SIGTERM,
    isolated: bool = False,
) -> subprocess.Popen[str]:
    variables = environment(env)
    if shutil.which(args[0], path=variables["PATH"]) is None:
        raise _not_installed(args[0])
    if isolated:
        args, death_signal = [*_ISOLATED, *args], signal.SIGKILL
    tied = (*_TIED, death_signal.name.removeprefix("SIG"), "--", *_UNLESS_ORPHANED)
    return subprocess.Popen(
        [*tied, str(os.getpid()), *args],
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        cwd=cwd,
        env=variables,
        text=True,
        errors="replace",
        # A group of its own: Ctrl-C reaches devvm alone, which stops the child in order.
        process_group=0,
    )


def _pipe(text: str | None) -> int:
    return subprocess.DEVNULL if text is None else subprocess.PIPE


@contextmanager
def _awaiting(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    _awaited[process] = threading.get_ident()
    try:
        with process:  # waits at its end
            yield process
    finally:
        del _awaited[process]


def _not_installed(program: str) -> HostNotReadyError:
    return HostNotReadyError(
        f"{program} is not installed",
        details="devvm needs it on this host",
        resolution="devvm setup",
    )


def _stop(process: subprocess.Popen[str], grace: float) -> None:
    if grace and process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
    _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a killed command has printed."""
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired:  # a daemon of its own making has its output, and lives on
        return "", ""


@contextmanager
def _log_file(log: Path | None, args: Sequence[str]) -> Iterator[IO[str]]:
    with (log or Path(os.devnull)).open("a", encoding="utf-8") as sink:
        sink.write(f"$ {shlex.join(args)}\n")
        sink.flush()
        yield sink


def _append(log: Path | None, args: Sequence[str], output: str) -> None:
    if log is not None:
        with _log_file(log, args) as sink:
            sink.write(output if output.endswith("\n") or not output else output + "\n")
