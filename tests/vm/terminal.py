"""A person at a terminal: commands that ask questions or open sessions."""

import os
import pty
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


class Terminal:
    """A command on its own terminal."""

    def __init__(self, *command: str) -> None:
        self._main, terminal = pty.openpty()
        self._seen = ""
        self.child = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE.parent.parent,
            env={"DEVVM_CONFIG": str(HERE / "config.toml"), "PATH": os.environ["PATH"],
                 "TERM": "xterm", "HOME": os.environ.get("HOME", "/root")},
            stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True,
        )  # fmt: skip
        os.close(terminal)

    def wait_for(self, text: str, seconds: float = 180) -> None:
        """Read until a text appears."""
        self.type_until("", text, seconds)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def type_until(self, typed: str, text: str, seconds: float = 180) -> None:
        """Type something until a text appears.

        Input typed before a program has set up the terminal may be discarded, so it is typed again,
        as a person would.
        """
        deadline = time.monotonic() + seconds
        while text not in self._seen and time.monotonic() < deadline:
            more = self._read()
            if more is None:
                break
            if not more:
                self.type(typed)
        assert text in self._seen, self._seen

    def type_until_it_ends(self, typed: str, seconds: float = 60) -> int:
        """Type something until the command ends; return its exit code."""
        deadline = time.monotonic() + seconds
        while self.child.poll() is None and time.monotonic() < deadline:
            more = self._read()
            if more is None:
                break
            if not more and self.child.poll() is None:
                self.type(typed)
        return self.child.wait(timeout=max(1.0, deadline - time.monotonic()))

    def _read(self) -> bool | None:
        """Read output; False if there is none for two seconds, None if the other end is closed."""
        if not select.select([self._main], [], [], 2)[0]:
            return False
        try:
            self._seen += os.read(self._main, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            return None
        return True

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self._main)


@contextmanager
def terminal(*command: str):
    shell = Terminal(*command)
    try:
        yield shell
    finally:
        shell.close()
