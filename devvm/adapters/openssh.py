"""SSH to machines whose host keys are pinned, with OpenSSH's client."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.vm import Target
from devvm.system import process

#: The exit code for OpenSSH's own failures; a remote command can have it too.
_FAILED = 255
#: Seconds; the key exchange of an emulated guest is slow.
_CONNECT_TIMEOUT = 20
_PAUSE = 1.0


class ShellError(OperationError):
    """A command in a VM failed, or the VM can't be reached."""

    code = "shell"


class OpenSsh:
    """Implements `Shell`."""

    def wait(self, target: Target, *, timeout: float, detail: Callable[[str], None]) -> None:
        """Wait until SSH login works.

        Raises:
            ShellError: it doesn't within `timeout` seconds, or another machine answers.
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
            ShellError: the command failed (with `check`).
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
        source: Path | int | None = None,
        destination: Path | int | None = None,
        through: Sequence[str] = (),
        timeout: float = 3600,
    ) -> None:
        """Run a command with a local file as its input, or a new local file for its output.

        Only its owner can read the new file. `through` is a command on this host that the bytes
        pass through.

        Raises:
            ShellError: the command failed; the new file may be incomplete.
            OperationError: the command on this host failed.
        """
        try:
            process.transfer(
                _ssh(target, argv, batch=True),
                source=source,
                destination=destination,
                through=through,
                timeout=timeout,
            )
        except process.ProcessError as error:
            if error.argv == tuple(through):
                raise
            raise ShellError(
                f"{Path(argv[0]).name} failed in {target.alias} (exit code {error.returncode})",
                details=error.details,
                resolution=f"devvm ssh {_name(target)}",
            ) from None

    def interactive(
        self, target: Target, argv: Sequence[str], *, forward_agent: bool = False
    ) -> int:
        """Run a session, or `argv`, on this terminal and return the remote command's exit code.

        With `forward_agent`, it can use the person's SSH agent. Then it has a connection of its
        own: a shared one would leave the agent to whoever is in the VM after the session.
        """
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        own = ["-A", "-S", "none"] if forward_agent else []
        return process.interactive(_ssh(target, argv, terminal=terminal, more=own))

    def forward(self, target: Target, port: int, socket: str) -> int:
        """Forward a port of this host's loopback to a Unix socket there, until Ctrl-C.

        Returns:
            The exit code of ssh; 255 if it could not.
        """
        # A connection of its own, as a shared one would keep the port after the end.
        options = ["-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes", "-N"]
        where = ["-L", f"127.0.0.1:{port}:{socket}"]
        argv = _ssh(target, [], batch=True)
        return process.interactive([*argv[:-1], *options, *where, argv[-1]])

    @contextmanager
    def opening(self, target: Target) -> Iterator[None]:
        """Open the connection that later commands share, beside what the block does.

        It stays open after the block. If it isn't open by then, or can't be opened, nothing is
        said: the next command opens one.
        """
        with process.background([*_ssh(target, [], batch=True), "-N", "-f"]):
            yield

    def disconnect(self, target: Target) -> None:
        """Close the connection that is kept open for later commands, if there is one.

        A VM that was powered off doesn't close its end, and commands over the old connection would
        hang.
        """
        if target.ssh_config.is_file():
            process.run(
                ["ssh", "-F", target.ssh_config, "-O", "exit", target.alias],
                check=False,
                timeout=20,
            )

    def new_key(self, path: Path, comment: str) -> str:
        """Generate a login key pair, `path` and `path`.pub, and return the public key.

        It is ECDSA in PEM, which Vagrant's Ruby SSH library reads without further libraries.
        """
        path.unlink(missing_ok=True)
        process.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PEM",
             "-N", "", "-C", comment, "-f", path]
        )  # fmt: skip
        return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def _ssh(
    target: Target,
    argv: Sequence[str],
    *,
    batch: bool = False,
    terminal: bool = False,
    more: Sequence[str] = (),
) -> list[str]:
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT}"] if batch else []
    # sshd always runs commands through a shell, so quote for it.
    command = ["--", shlex.join(argv)] if argv else []
    if argv and not batch:
        options.append("-t" if terminal else "-T")
    return ["ssh", "-F", str(target.ssh_config), *options, *more, target.alias, *command]


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
