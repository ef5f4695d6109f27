"""A command of the host's administrator that is told of a rollout."""

from __future__ import annotations

from collections.abc import Sequence

from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.domain.rollout.message import Message
from devvm.system import process


class HookCommand:
    """Satisfies `Sender`: the message is JSON on the command's standard input.

    Args:
        argv: The command, one argument an item.
        timeout: Seconds until it is killed, and all that it started in its process group.
    """

    name = "hook command"

    def __init__(self, argv: Sequence[str], *, timeout: float = 15) -> None:
        self._argv = tuple(argv)
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Run the command once.

        Raises:
            ProcessError: it failed, or did not end in time.
            OperationError: it can't be run.
        """
        try:
            process.run(self._argv, stdin=f"{message.to_json()}\n", timeout=self._timeout)
        except HostNotReadyError:
            raise OperationError(
                f"there is no command {self._argv[0]}",
                resolution="to see rollout.hooks.command: devvm config show",
            ) from None
