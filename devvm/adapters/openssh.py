"""SSH into machines whose host keys are pinned, with OpenSSH's own client."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.vm import Target
from devvm.system import process

#: OpenSSH's own failures; a remote command can end with the same code.
_FAILED = 255
#: An emulated guest takes its time for a key exchange.
_CONNECT_TIMEOUT = 20
_PAUSE = 1.0


class ShellError(OperationError):
    """A command in a VM failed, or the VM can't be reached."""

    code = "shell"


class OpenSsh:
    """The `Shell` port."""

    def wait(self, target: Target, *, timeout: float, detail: Callable[[str], None]) -> None:
        """Wait until the machine lets us in.

        Raises:
            ShellError: it does not within `timeout` seconds, or another machine answers.
        """
        deadline = time.monotonic() + timeout
        while True:
            done = process.run(_ssh(target, ["true"], batch=True), check=False, timeout=60)
            if done.returncode == 0:
                return
            reason = _reason(done.stderr)
            if "Host key verification failed" in done.stderr:
                raise _stranger(target, done.stderr)
            if time.monotonic() > deadline:
                raise ShellError(
                    f"{_name(target)} can't be reached by SSH",
                    details=f"tried for {timeout:.0f} s; the last error was: {reason}",
                    resolution=f"devvm console {_name(target)}",
                )
            detail(f"waiting for SSH ({reason})")
            time.sleep(_PAUSE)

    def run(
        self,
        target: Target,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:
        """Run a command and return its exit code, stdout and stderr.

        Raises:
            ShellError: with `check`, the command failed.
        """
        done = process.run(
            _ssh(target, argv, batch=True), check=False, timeout=timeout, stdin=stdin
        )
        if check and done.returncode:
            if "Host key verification failed" in done.stderr:
                raise _stranger(target, done.stderr)
            raise ShellError(
                f"{Path(argv[0]).name} failed in {target.alias} (exit code {done.returncode})",
                details=(done.stderr or done.stdout).strip() or "it printed nothing",
                resolution=f"to see it again: devvm exec {_name(target)} -- {shlex.join(argv)}",
            )
        return done.returncode, done.stdout, done.stderr

    def transfer(
        self,
        target: Target,
        argv: Sequence[str],
        *,
        source: Path | None = None,
        destination: Path | None = None,
        timeout: float = 3600,
    ) -> None:
        """Run a command with a file of this host as its input, or its output into a new file.

        The new file is its owner's alone to read.

        Raises:
            ShellError: the command failed; the new file may hold a part.
        """
        try:
            process.transfer(
                _ssh(target, argv, batch=True),
                source=source,
                destination=destination,
                timeout=timeout,
            )
        except process.ProcessError as error:
            raise ShellError(
                f"{Path(argv[0]).name} failed in {target.alias} (exit code {error.returncode})",
                details=error.details,
                resolution=f"devvm ssh {_name(target)}",
            ) from None

    def interactive(self, target: Target, argv: Sequence[str]) -> int:
        """A session on this terminal, or `argv` on it; the exit code of the remote command."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return process.interactive(_ssh(target, argv, terminal=terminal))

    def disconnect(self, target: Target) -> None:
        """Drop a connection that is kept open for the next command; nothing where none is.

        A VM whose plug was pulled does not say goodbye, and a command that went through the old
        connection would hang.
        """
        if target.ssh_config.is_file():
            process.run(
                ["ssh", "-F", target.ssh_config, "-O", "exit", target.alias],
                check=False,
                timeout=20,
            )

    def new_key(self, path: Path, comment: str) -> str:
        """Make a key pair for logging in, at `path` and `path`.pub; the public half.

        ECDSA in PEM: the Ruby SSH library under Vagrant reads that without further libraries.
        """
        path.unlink(missing_ok=True)
        process.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PEM",
             "-N", "", "-C", comment, "-f", path]
        )  # fmt: skip
        return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def _ssh(
    target: Target, argv: Sequence[str], *, batch: bool = False, terminal: bool = False
) -> list[str]:
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT}"] if batch else []
    # The far side has a shell between us and the command, whatever we do: so quote for it.
    command = ["--", shlex.join(argv)] if argv else []
    if argv and not batch:
        options.append("-t" if terminal else "-T")
    return ["ssh", "-F", str(target.ssh_config), *options, target.alias, *command]


def _reason(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return lines[-1].rpartition("port 22: ")[2] if lines else "no answer"


def _stranger(target: Target, stderr: str) -> ShellError:
    return ShellError(
        f"the machine that answers as {target.alias} has a different host key than the VM",
        details=_reason(stderr),
        resolution=f"to see the VM's console: devvm console {_name(target)}",
    )


def _name(target: Target) -> str:
    return target.alias.removesuffix("-vagrant")
