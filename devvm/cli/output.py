"""The only module that prints: results to stdout, as text or JSON; everything else to stderr.

Text from outside (a tool's output, a file name) is never parsed as Rich markup, and is printed
without control characters.

Rich is loaded when it has something to draw: it takes as long as a small command.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from devvm.cli import formatting, table
from devvm.domain.errors import DevvmError, ExitCode

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from devvm.cli.progress import LiveReporter
    from devvm.operations.core.progress import Reporter

#: Output to a file or pipe has no width to fit into: keep lines whole for grep and awk.
_UNLIMITED = 10_000


class Output:
    """Prints a command's results, notes, errors and questions.

    Args:
        json: Print results and errors as JSON.
        quiet: Show no progress.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):  # test streams may lack it
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._reporter: Reporter | None = None
        self._moving: LiveReporter | None = None  # the same, if it draws

    @cached_property
    def _stdout(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def _stderr(self) -> Console:
        return _console(stderr=True)

    # Results -----------------------------------------------------------------------------

    def result(self, data: object, show: Callable[[], None]) -> None:
        """Print a command's result: `data` as JSON with --json, otherwise what `show` prints."""
        if self.json:
            self._write_json(data, indent=2)
        else:
            show()

    def event(self, data: object) -> None:
        """Print an event as one line of JSON."""
        self._write_json(data, indent=None)

    def _write_json(self, data: object, *, indent: int | None) -> None:
        from devvm.cli import serializers

        plain = serializers.as_json(data)
        self.write(json.dumps(plain, indent=indent, ensure_ascii=False) + "\n")

    def write(self, content: str) -> None:
        """Write text to stdout unchanged."""
        sys.stdout.write(content)
        sys.stdout.flush()

    def line(self, content: str = "") -> None:
        """Print a line of a result."""
        self.write(f"{formatting.safe(content)}\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table, without borders so that both people and `cut` can read it."""
        cells = [[formatting.safe(cell) for cell in row] for row in (columns, *rows)]
        if not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
            widths = table.widths(cells)
            lines = ("".join(line).rstrip() for row in cells for line in table.fold(row, widths))
            self.write("".join(f"{line}\n" for line in lines))
            return
        from rich.text import Text

        widths = table.widths(cells, self._stdout.width)
        for row in cells:  # on a terminal, the last column takes the remaining width
            styles = ["bold" if row is cells[0] else _style(cell) for cell in row]
            for line in table.fold(row, widths):
                text = Text.assemble(*zip(line, styles, strict=True))
                text.rstrip()
                self._stdout.print(text, soft_wrap=True)

    def facts(self, title: str, rows: Iterable[tuple[str, str]], *, good: bool = True) -> None:
        """Print named values: a panel on a terminal, plain lines elsewhere.

        A row without a name continues the row above; an empty row is a gap.
        """
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 3, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in rows:
            grid.add_row(Text(name), Text(formatting.safe(value)))
        heading = Text(formatting.safe(title), style="bold")
        if self._stdout.is_terminal:
            border = "green" if good else "yellow"
            self._stdout.print(
                Panel(
                    grid, title=heading, title_align="left", border_style=border,
                    expand=False, padding=(0, 1),
                )
            )  # fmt: skip
        else:
            self._stdout.print(heading)
            self._print_result(grid)

    def _print_result(self, content: RenderableType) -> None:
        with self._stdout.capture() as capture:
            self._stdout.print(content)
        self.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))

    # Beside the result -------------------------------------------------------------------

    def note(self, content: str, *, style: str = "") -> None:
        """Print a line for people, to stderr."""
        from rich.text import Text

        self._quieten()
        self._stderr.print(Text(formatting.safe(content), style=style), soft_wrap=True)

    def item(self, content: str) -> None:
        """Print one item of a list under a note; on a terminal, wrapped lines are indented."""
        from rich.text import Text

        self._quieten()
        width = self._stderr.width - 1 if self._stderr.is_terminal else _UNLIMITED
        for line in textwrap.wrap(
            formatting.safe(content), width, initial_indent="  - ", subsequent_indent="    ",
            break_on_hyphens=False,
        ):  # fmt: skip
            self._stderr.print(Text(line), soft_wrap=True)

    def reporter(self) -> Reporter:
        """The reporter of a run's phases; one for the whole command."""
        from devvm.cli.progress import LiveReporter, PlainReporter, SilentReporter

        if self._reporter is None:
            if self.quiet:
                self._reporter = SilentReporter()
            elif self.shows_live:
                self._reporter = self._moving = LiveReporter(self._stderr)
            else:
                self._reporter = PlainReporter(self._stderr)
        return self._reporter

    @property
    def shows_live(self) -> bool:
        """Whether progress can be drawn on a terminal."""
        terminal = self._stderr.is_terminal and not self._stderr.is_dumb_terminal
        return terminal and not self.json and not self.quiet

    @contextmanager
    def live(self, picture: RenderableType) -> Iterator[None]:
        """Keep a picture up to date below other output, if stdout is a terminal."""
        if not self.shows_live:
            yield
            return
        from rich.live import Live

        self._quieten()
        with Live(picture, console=self._stderr, refresh_per_second=4, transient=True):
            yield

    def error(self, error: DevvmError) -> None:
        """Print an error: what happened, why, what to type next, where the raw output is."""
        self._quieten()
        if self.json:
            from devvm.cli import serializers

            data = serializers.as_json({"error": serializers.error(error)})
            self.write(json.dumps(data, indent=2) + "\n")
            return
        from rich.text import Text

        first = "Interrupted" if error.exit_code is ExitCode.INTERRUPTED else "Error"
        self._stderr.print(
            Text.assemble((f"{first}: ", "bold red"), (formatting.safe(error.brief), "bold")),
            soft_wrap=True,
        )
        for line in formatting.safe(error.details or "").splitlines():
            self._stderr.print(Text(f"  {line}"), soft_wrap=True)
        self._labelled("Next", formatting.command(error.resolution or ""), "bold cyan")
        self._labelled("Log", str(error.log) if error.log else None, "dim")

    def _labelled(self, label: str, value: str | None, style: str) -> None:
        from rich.text import Text

        if value:
            self._stderr.print(
                Text.assemble((f"{label}: ", style), formatting.safe(value)), soft_wrap=True
            )

    # Questions ---------------------------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody to answer questions."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question once; Enter means yes, end of input means no."""
        answer = self.ask(f"{question} [Y/n] ").strip().lower()
        return answer in {"", "y", "yes"}

    def ask(self, prompt: str) -> str:
        """Ask for a line; end of input counts as `n`."""
        from rich.text import Text

        self._quieten()
        self._stderr.print(Text(formatting.safe(prompt)), end="")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else "n"

    def _quieten(self) -> None:
        if self._moving is not None:
            self._moving.close()


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

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
