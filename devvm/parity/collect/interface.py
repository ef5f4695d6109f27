"""What collectors and probes are given, and what they return.

For type checkers and readers only. A guest doesn't have this module: code that runs there imports
it under `if TYPE_CHECKING`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypedDict

from devvm.parity.production.manifest import Facts

#: The items of an area: facts, by the item's name.
Items = dict[str, Facts]
#: Why items couldn't be observed, by the beginning of their checks' names.
Errors = dict[str, str]
#: Not facts themselves, but helps to explain a difference (`packages/attribution.py`).
Evidence = dict[str, Any]
#: What a collector returns: the items of each area, and optionally `errors` and `evidence`.
Found = Mapping[str, Items | Errors | Evidence]
#: What a probe returns: plain data, which the checks read.
Answers = Mapping[str, Any]
#: `{path: (md5, package)}` of files as packages installed them.
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
    """What the expectations name and collectors can't find by themselves (`checks/catalogue.py`).

    Attributes:
        application: Commands that print what is deployed, by item.
        areas: The areas to look at; None: all of them.
        commands: Commands that must work, by check.
        configs: Programs whose configuration must parse.
        healthz: Path of the site's health report; None if it has none.
        http: URLs to fetch, by check; `{host}` stands for the machine's name.
        metrics: Exporters, by check.
        moved: Packages whose version in the machine's release differs from production's.
        paths: Files to look at outside the folders of configuration.
        tls: Ports whose certificate must be trusted, by check.
        tls_ports: Ports whose protocols and ciphers to list.
    """

    application: Mapping[str, Program]
    areas: Sequence[str] | None
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
            cwd: The directory to run it in; None for the current one.

        Returns:
            Exit code, standard output and standard error. A bad command doesn't raise: the code is
            127 if the program doesn't exist, and 124 if it timed out.
        """

    def __hash__(self) -> int:
        """Hashable, like a function: `common.packaged` caches its result for each `run`."""


class Collector(Protocol):
    """A module that says what a machine is: ours, or a company's own.

    The text of its file is sent to the machine and run there as root, by Debian's python3. So it is
    a single file that imports only the standard library and changes nothing on the machine. From
    devvm it can import `devvm.parity.collect.collectors.common`, and this module under
    `if TYPE_CHECKING`.

    Attributes:
        AREAS: The areas it lists. An area is the first part of its checks' names: `package/nginx`.
    """

    @property
    def AREAS(self) -> tuple[str, ...]:  # noqa: D102, N802 (a module's constant)
        ...

    def collect(self, wanted: Wanted, run: Run) -> Found:
        """List everything in its areas.

        If it raises, all items of its areas count as not observed, with the error as the reason. If
        only some could not be seen, it returns the others and names these under `errors`.
        """


class Probe(Protocol):
    """A module that tries what must work on a machine. It leaves nothing behind."""

    def probe(self, wanted: Wanted, run: Run) -> Answers:
        """Try what the expectations name.

        If it raises, all its checks fail, with the error as the reason.
        """
