"""What a command works with: the output, the configuration and the services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from devvm.cli.output import Output
from devvm.domain.errors import UsageError

if TYPE_CHECKING:
    from devvm.config import Config
    from devvm.operations.core.progress import Run
    from devvm.ports.services import Services


class Session:
    """One invocation of devvm.

    Args:
        output: Prints.
        argv: The arguments after `devvm`, for commands that run devvm again.
    """

    def __init__(self, output: Output, argv: Sequence[str] = ()) -> None:
        self.output = output
        self.argv = tuple(argv)
        #: The folder given with `--stack`.
        self.stack: Path | None = None

    @classmethod
    def of(cls, context: typer.Context) -> Session:
        """The session of a command's context."""
        root = context.find_root()
        if not isinstance(root.obj, Session):
            root.obj = cls(Output())
        return root.obj

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments without the options before the command."""
        words = list(self.argv)
        while words and words[0].startswith("-"):
            del words[: 2 if words[0] == "--stack" else 1]
        return tuple(words)

    def config(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
        """The effective configuration.

        Raises:
            UsageError: it is invalid, or the current folder is in somebody else's stack.
        """
        from devvm.config import load

        return load(overrides, stack_dir=self._stack_dir())

    def services(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Services:
        """The services for operations, on a host that is ready to show and run VMs.

        Raises:
            HostNotReadyError: libvirt isn't running, or the user may not use it.
        """
        from devvm import wiring
        from devvm.cli.host import readiness

        config = self.config(overrides)
        readiness.require(self, config)
        return wiring.build_services(config)

    def _stack_dir(self) -> Path | None:
        """The folder given with `--stack`, or the stack's that the current folder is in."""
        from devvm.stack import folder

        if self.stack is not None:
            return self.stack.absolute()
        try:
            found = folder.around(Path.cwd())
        except OSError:  # the current folder was deleted, or is not ours to see
            return None
        if found is not None:
            folder.refuse_strangers(found)
        return found

    def run(self, command: str) -> Run:
        """Start a run, whose progress is shown."""
        from devvm.operations.core.progress import Run

        return Run(command, self.output.reporter())

    def vm_name(self, name: str | None) -> str:
        """The name of a VM: the given one, or the user's login.

        Raises:
            UsageError: it is not a valid name.
        """
        from devvm import wiring
        from devvm.domain.name import validate_name

        if name is not None:
            return validate_name(name)
        login = wiring.invoker().login
        verb = next(iter(self.words), "create")
        if login == "root":
            raise UsageError(
                "which VM? The name defaults to your login, and you are root",
                resolution=f"devvm {verb} dev1",
            )
        try:
            return validate_name(login)
        except UsageError as error:
            raise UsageError(
                "which VM? The name defaults to your login, which can't be a VM's name",
                details=error.brief,
                resolution=f"devvm {verb} dev1",
            ) from None
