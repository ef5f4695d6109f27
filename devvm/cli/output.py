"""The only printer. Results go to stdout, everything else to stderr; text, or JSON.

Nothing that comes from outside (a tool's output, a file name) is ever read as Rich markup, nor
reaches the terminal with control characters in it.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from devvm.cli import formatting
from devvm.cli.progress import LiveReporter, PlainReporter, SilentReporter
from devvm.domain.errors import DevvmError, ExitCode
from devvm.operations.core.progress import Reporter

#: A console that is no terminal has no width to fit into: lines stay whole for grep and awk.
_UNLIMITED = 10_000


class Output:
    """Where a command's words go.

    Args:
        json: Results and errors as JSON on stdout.
        quiet: No progress.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):  # a test's stream need not have it
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._stdout = _console(stderr=False)
        self._stderr = _console(stderr=True)
        self._reporter: Reporter | None = None

    # Results -----------------------------------------------------------------------------

    def result(self, data: Mapping[str, Any], show: Callable[[], None]) -> None:
        """A command's result: `data` where JSON is wanted, otherwise what `show` prints."""
        if self.json:
            self.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        else:
            show()

    def write(self, content: str) -> None:
        """Text for stdout, byte for byte."""
        sys.stdout.write(content)
        sys.stdout.flush()

    def line(self, content: str = "") -> None:
        """A line of a result."""
        self._stdout.print(Text(formatting.safe(content)), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A result of several rows: no borders, so that it can be read and cut alike."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:  # on a terminal, the last one takes what room there is
            table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*(Text(formatting.safe(cell), style=_style(cell)) for cell in row))
        self._print_result(table)

    def facts(self, title: str, rows: Iterable[tuple[str, str]], *, good: bool = True) -> None:
        """A result of named values: a panel on a terminal, plain lines elsewhere.

        A row without a name goes on with the row above; an empty one is a gap.
        """
        table = Table.grid(padding=(0, 3, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(name), Text(formatting.safe(value)))
        heading = Text(formatting.safe(title), style="bold")
        if self._stdout.is_terminal:
            border = "green" if good else "yellow"
            self._stdout.print(
                Panel(
                    table, title=heading, title_align="left", border_style=border,
                    expand=False, padding=(0, 1),
                )
            )  # fmt: skip
        else:
            self._stdout.print(heading)
            self._print_result(table)

    def _print_result(self, content: RenderableType) -> None:
        with self._stdout.capture() as capture:
            self._stdout.print(content)
        self.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))

    # Beside the result -------------------------------------------------------------------

    def note(self, content: str, *, style: str = "") -> None:
        """A line that a person should see and a program should not."""
        self._quieten()
        self._stderr.print(Text(formatting.safe(content), style=style), soft_wrap=True)

    def item(self, content: str) -> None:
        """One of several lines under a note; on a terminal, its further lines are indented."""
        self._quieten()
        width = self._stderr.width - 1 if self._stderr.is_terminal else _UNLIMITED
        for line in textwrap.wrap(
            formatting.safe(content), width, initial_indent="  - ", subsequent_indent="    ",
            break_on_hyphens=False,
        ):  # fmt: skip
            self._stderr.print(Text(line), soft_wrap=True)

    def reporter(self) -> Reporter:
        """The one that shows a run's phases; the same one for the whole command."""
        if self._reporter is None:
            if self.quiet:
                self._reporter = SilentReporter()
            elif self.shows_live:
                self._reporter = LiveReporter(self._stderr)
            else:
                self._reporter = PlainReporter(self._stderr)
        return self._reporter

    @property
    def shows_live(self) -> bool:
        """Whether progress may move on a terminal."""
        terminal = self._stderr.is_terminal and not self._stderr.is_dumb_terminal
        return terminal and not self.json and not self.quiet

    @contextmanager
    def live(self, picture: RenderableType) -> Iterator[None]:
        """Draw something again and again below what is printed; nothing where that can't be."""
        if not self.shows_live:
            yield
            return
        self._quieten()
        with Live(picture, console=self._stderr, refresh_per_second=4, transient=True):
            yield

    def error(self, error: DevvmError) -> None:
        """What happened, why, what to type next, where the raw output is."""
        self._quieten()
        if self.json:
            self.write(json.dumps({"error": error_data(error)}, indent=2) + "\n")
            return
        first = "Interrupted" if error.exit_code is ExitCode.INTERRUPTED else "Error"
        self._stderr.print(
            Text.assemble((f"{first}: ", "bold red"), (formatting.safe(error.brief), "bold")),
            soft_wrap=True,
        )
        for line in formatting.safe(error.details or "").splitlines():
            self._stderr.print(Text(f"  {line}"), soft_wrap=True)
        self._labelled("Next", error.resolution, "bold cyan")
        self._labelled("Log", str(error.log) if error.log else None, "dim")

    def _labelled(self, label: str, value: str | None, style: str) -> None:
        if value:
            self._stderr.print(
                Text.assemble((f"{label}: ", style), formatting.safe(value)), soft_wrap=True
            )

    # Questions ---------------------------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> bool:
        """Ask once; Enter means yes, the end of input no."""
        answer = self.ask(f"{question} [Y/n] ").strip().lower()
        return answer in {"", "y", "yes"}

    def ask(self, prompt: str) -> str:
        """A line that the person types; the end of input is `n`."""
        self._quieten()
        self._stderr.print(Text(formatting.safe(prompt)), end="")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else "n"

    def _quieten(self) -> None:
        if isinstance(self._reporter, LiveReporter):
            self._reporter.close()


def error_data(error: DevvmError) -> dict[str, Any]:
    """An error as it stands in JSON (docs/json.md)."""
    return {
        "code": error.code,
        "brief": error.brief,
        "details": error.details,
        "resolution": error.resolution,
        "log": str(error.log) if error.log else None,
        "exit_code": int(error.exit_code),
    }


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


_STYLES = {
    "running": "green", "passed": "green", "shut off": "dim", "unfinished": "yellow",
    "crashed": "red", "failed": "red", "error": "red", "missing": "red",
}  # fmt: skip


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")
