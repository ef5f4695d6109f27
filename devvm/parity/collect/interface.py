"""What a collector and a probe are given, and what they return.

For type checkers and readers alone. A guest does not have this module: what runs there imports it
under `if TYPE_CHECKING`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypedDict

from devvm.parity.production.manifest import Facts

#: The items of one area: facts by the item's name.
Items = dict[str, Facts]
#: Why items could not be seen, by the beginning of their checks' names.
Errors = dict[str, str]
#: What is not a fact, but says whose a difference is.
Evidence = dict[str, Any]
#: What a collector returns: items by area, and `errors` and `evidence` under these names.
Found = Mapping[str, Items | Errors | Evidence]
#: What a probe returns: plain data, which its checks read.
Answers = Mapping[str, Any]
#: `{path: (md5, package)}` of files as packages brought them.
Packaged = Mapping[str, tuple[str, str]]


class Program(TypedDict):
    """A command to run.

    Attributes:
        argv: Program and arguments; no shell.
        cwd: The directory it runs in.
        timeout: Seconds it may take.
    """

    argv: Sequence[str]
    cwd: str
    timeout: float


class Exporter(TypedDict):
    """An exporter of metrics: its URL, and the names of the samples to read."""

    url: str
    samples: Sequence[str]


class Wanted(TypedDict):
    """What expectations name, beyond what collectors list by themselves (`checks.catalogue`).

    Attributes:
        application: Commands that say what is deployed, by fact.
        commands: Commands that must work, by check.
        configs: Programs whose configuration must parse.
        healthz: Path of the site's health report; None: it has none.
        http: URLs to get, by check; `{host}` in one is the machine's name.
        metrics: Exporters, by check.
        moved: Packages whose version in the machine's release is not production's.
        paths: Files to look at outside of the folders of configuration.
        tls: Ports whose certificate must be trusted, by check.
        tls_ports: Ports whose protocols and ciphers are facts.
    """

    application: Mapping[str, Program]
    commands: Mapping[str, Program]
    configs: Sequence[str]
    healthz: str | None
    http: Mapping[str, str]
    metrics: Mapping[str, Exporter]
    moved: Sequence[str]
    paths: Sequence[str]
    tls: Mapping[str, int]
    tls_ports: Sequence[int]


class Run(Protocol):
    """Runs a command on the machine (`inside.run`)."""

    def __call__(
        self, argv: Sequence[str], timeout: float = ..., cwd: str | None = None
    ) -> tuple[int, str, str]:
        """Run a command and wait for it.

        Args:
            argv: Program and arguments; no shell.
            timeout: Seconds it may take.
            cwd: The directory it runs in, if not the present one.

        Returns:
            Exit code, standard output, standard error. The code is 127 if there is no such
            program, and 124 if it took too long: a bad command raises nothing.
        """

    def __hash__(self) -> int:
        """Functions have it: what a command told is remembered by who ran it."""


class Collector(Protocol):
    """A module that says what a machine is: ours, or a company's own.

    The text of its file is sent to the machine and run there by Debian's python3, as root. So it
    is one file, imports the standard library only, and changes nothing. Of devvm it may import,
    beside this module for type checkers, `devvm.parity.collect.collectors.common`.

    Attributes:
        AREAS: The areas it lists, each the first word of its checks' names.
    """

    @property
    def AREAS(self) -> tuple[str, ...]:  # noqa: D102, N802 (a module's constant)
        ...

    def collect(self, wanted: Wanted, run: Run) -> Found:
        """List everything of these areas.

        If it raises, nothing of its areas is checked, and the reason is shown. If only a part
        could not be seen, it says so under `errors` instead.
        """


class Probe(Protocol):
    """A module that tries what must work on a machine. It leaves nothing behind."""

    def probe(self, wanted: Wanted, run: Run) -> Answers:
        """Try what the expectations name.

        If it raises, all its checks fail, and the reason is shown.
        """
