"""Notifies about rollouts by running a command of the administrator's."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.domain.rollout.message import Message
from devvm.system import process


class HookCommand:
    """Implements `Sender`: the command gets the message as JSON on standard input.

    Args:
        argv: The command and its arguments.
        timeout: Seconds after which its process group is killed.
    """

    name = "hook command"

    def __init__(self, argv: Sequence[str], *, timeout: float = 15) -> None:
        self._argv = tuple(argv)
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Run the command once.

        Raises:
            ProcessError: the command failed or timed out.
            OperationError: the command doesn't exist.
        """
        try:
            process.run(self._argv, stdin=f"{message.to_json()}\n", timeout=self._timeout)
        except HostNotReadyError:
            raise OperationError(
                f"there is no command {self._argv[0]}",
                resolution="to see rollout.hooks.command: devvm config show",
            ) from None
