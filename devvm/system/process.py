"""Runs commands. No other module starts processes.

Commands are argument lists, never shell strings, and get a rebuilt environment and no input. Their
raw output goes to a log file. Errors quote the command, so that a person can repeat it.
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

#: Variables that name the proxies of a network. Programs differ in the spelling that they read.
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

#: Variables that a tool inherits. All others are dropped, so that a person's shell settings can't
#: change what devvm does, and their secrets don't end up in a child's /proc/PID/environ.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TERM", "TMPDIR", "USER",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
    "PIP_CERT", "SSL_CERT_FILE", "VAGRANT_HOME", *PROXIES,
)  # fmt: skip

#: Sends the child a signal when devvm dies, however it dies: a killed command's tools must not run
#: on beside the next command, which undoes their work. Daemons that a child starts live on,
#: because a fork doesn't inherit the setting (prctl(2), PR_SET_PDEATHSIG).
_TIED = ("setpriv", "--pdeathsig")

#: Keeps the command from starting if devvm died before the signal was set up: its parent is then
#: another process. Arguments: devvm's PID, and the command.
_UNLESS_ORPHANED = ("sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')

#: Gives a tool its own mount and PID namespaces. When its first process ends, for any reason, the
#: kernel ends the other processes and the mounts. The first one ends with `unshare`, which only
#: SIGKILL can end early.
_ISOLATED = (
    "unshare", "--mount", "--propagation=private", "--pid", "--mount-proc", "--kill-child=SIGKILL",
    "--",
)  # fmt: skip

#: The exit code of ssh itself.
_SSH_FAILED = 255
#: Running commands, and the thread that waits for each.
_awaited: dict[subprocess.Popen[str], int] = {}


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A finished process."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ProcessError(OperationError):
    """A command failed or timed out."""

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
    """The environment for a tool: the few inherited variables, and `extra`."""
    env = {k: os.environ[k] for k in _INHERITED if k in os.environ}
    env.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    for directory in ("/usr/sbin", "/sbin"):  # not in an ordinary user's PATH on Debian
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
    """Run a command, wait for it to end, and return its output.

    Args:
        argv: The command and its arguments.
        check: Raise if the exit code is not 0.
        timeout: Seconds after which the command's whole process group is killed.
        cwd: The working directory.
        env: Variables in addition to the inherited ones.
        stdin: Text for standard input, which is empty by default. Pass secrets here, not in argv.
        log: A file to append the command line and its output to.
        sudo: Run it through sudo unless this process is root. It never asks for a password: devvm
            runs `sudo -v` on the terminal first.

    Raises:
        ProcessError: the exit code is not 0 (with `check`), or the command timed out.
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
    r"""Run a command and pass each line of its output (both streams) to `on_line` as it appears.

    `\r` ends a line too, so progress meters are seen. On an interrupt, or if `on_line` raises, the
    command is killed; with `stop_grace`, it first gets SIGTERM and that many seconds, for a tool
    that has to stop children in other sessions.

    An `isolated` command leaves no mounts and no processes behind, however it or devvm ends, and
    nobody else sees its mounts. This needs root.

    Raises:
        ProcessError: the exit code is not 0 (with `check`).
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
    source: Path | int | None = None,
    destination: Path | int | None = None,
    through: Sequence[str] = (),
    timeout: float | None = None,
) -> None:
    """Run a command with a file as its standard input, or a file for its standard output.

    The bytes are streamed unchanged. Only its owner can read a new file. Files may also be given as
    open descriptors.

    Args:
        argv: The command and its arguments.
        source: What it reads.
        destination: Where its output goes.
        through: A command that the bytes pass through on their way, such as gzip.
        timeout: Seconds after which the command is killed.

    Raises:
        ProcessError: either command failed or timed out; the file may be incomplete.
        HostNotReadyError: a program is not installed.
    """
    args, between = _argv(argv, sudo=False), None
    with ExitStack() as files:
        stdin: IO[bytes] | IO[str] | int = subprocess.DEVNULL
        if source is not None:
            stdin = files.enter_context(_readable(source))
        stdout: IO[bytes] | IO[str] | int = subprocess.DEVNULL
        if destination is not None:
            stdout = files.enter_context(_writable(destination))
        if through:
            reads = source is not None
            between = files.enter_context(
                _awaiting(
                    _start(
                        list(through),
                        stdin=stdin if reads else subprocess.PIPE,
                        output=subprocess.PIPE if reads else stdout,
                    )
                )
            )
            stdin = between.stdout if reads and between.stdout else stdin
            stdout = between.stdin or stdout
        with _awaiting(_start(args, stdin=stdin, output=stdout)) as process:
            for end in (between.stdin, between.stdout) if between else ():
                if end is not None:
                    end.close()  # the command has it, and each notices when the other has ended
            try:
                _, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                raise ProcessError(args, 124, f"timed out after {timeout} s", None) from None
            except BaseException:
                _kill_group(process)
                raise
        if between is not None and between.stderr is not None:
            why = between.stderr.read()
            if between.wait() not in (0, -signal.SIGPIPE):
                raise ProcessError(through, between.returncode, why, None)
    if process.returncode:
        raise ProcessError(args, process.returncode, err, None)


def _readable(file: Path | int) -> IO[bytes]:
    return os.fdopen(os.dup(file), "rb") if isinstance(file, int) else file.open("rb")


def _writable(file: Path | int) -> IO[bytes]:
    """An open file; one that is made is its owner's only."""
    if isinstance(file, int):
        return os.fdopen(os.dup(file), "wb")
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def kill_commands_of_other_threads() -> None:
    """Kill the commands that other threads wait for; those threads get a `ProcessError`.

    Python delivers an interrupt to the main thread only, so the others would go on waiting. Call
    this repeatedly until they have ended: one may be about to start its command.
    """
    for process, thread in _awaited.copy().items():
        if thread != threading.get_ident() and process.poll() is None:
            _kill_group(process)


def interactive(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a command on this terminal (ssh, sudo, an editor) and return its exit code.

    The command handles Ctrl-C, which the terminal sends to devvm too: devvm ignores it and waits.
    If it ends ssh, whose exit code is then 255 as after a failure, this returns -SIGINT.
    """
    args = _argv(argv, sudo=False)
    seen: list[int] = []
    # Unlike SIG_IGN, a handler isn't inherited by the command.
    previous = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        code = subprocess.run(args, env=environment(env), check=False).returncode
    except FileNotFoundError:
        raise _not_installed(args[0]) from None
    finally:
        signal.signal(signal.SIGINT, previous)
    return -signal.SIGINT if seen and code == _SSH_FAILED else code


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
    """Run a command in the background, and stop its process group at the end of the block.

    If devvm is killed, the command gets `death_signal`. Use SIGKILL for a tool that would spend
    time cleaning up on SIGTERM, and so collide with the next command.
    """
    args = _argv(argv, sudo=sudo)
    process = None
    with _log_file(log, args) as sink:
        try:
            with _interrupted_later():  # when it can be stopped
                process = _start(args, env=env, merge=True, output=sink, death_signal=death_signal)
            yield process
        finally:
            if process is not None:
                if process.poll() is None:
                    process.send_signal(stop_signal)
                    deadline = time.monotonic() + stop_timeout
                    while process.poll() is None and time.monotonic() < deadline:
                        time.sleep(0.1)
                _kill_group(process)
                process.wait()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C interrupt this thread, if it is the main one, only at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if pressed:
        raise KeyboardInterrupt


def detached(argv: Sequence[str]) -> None:
    """Start a devvm that goes on when this one has ended; it has no terminal and no output."""
    variables = environment({k: v for k, v in os.environ.items() if k.startswith("DEVVM_")})
    child = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=variables,
        start_new_session=True,
    )
    child.returncode = 0  # nobody waits for it


def _argv(argv: Sequence[str | os.PathLike[str]], *, sudo: bool) -> list[str]:
    args = [os.fspath(a) for a in argv]
    return ["sudo", "-n", "--", *args] if sudo and os.geteuid() != 0 else args


def _start(
    args: list[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | IO[str] | int = subprocess.DEVNULL,
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
        # In its own process group: Ctrl-C reaches only devvm, which stops the child cleanly.
        process_group=0,
    )


def _pipe(text: str | None) -> int:
    return subprocess.DEVNULL if text is None else subprocess.PIPE


@contextmanager
def _awaiting(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    _awaited[process] = threading.get_ident()
    try:
        with process:  # waits for it at the end
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
    """The stdout and stderr of a killed command so far."""
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired:  # a daemon that it started still holds the pipes
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
