"""Three ways to show a run's phases: live on a terminal, as plain lines, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from devvm.cli import formatting
from devvm.domain.run import PhaseRecord

_TITLE_WIDTH = 34
_TIME_WIDTH = 11
_MARKS = {
    "done": ("✓", "ok", "green"),
    "failed": ("✗", "failed", "red"),
    "skipped": ("-", "-", "dim"),
}


class SilentReporter:
    """A reporter that shows nothing."""

    def phase_started(self, name: str, title: str) -> None:
        """Do nothing."""

    def detail(self, text: str) -> None:
        """Do nothing."""

    def phase_finished(self, record: PhaseRecord) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class PlainReporter:
    """Prints one line per event, for files, pipes and CI logs; details only now and then.

    Args:
        console: Where to print.
        every: The minimum number of seconds between two details.
        clock: Replaced in tests.
    """

    def __init__(
        self, console: Console, *, every: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._every = every
        self._clock = clock
        self._phase = ""
        self._last = 0.0

    def phase_started(self, name: str, title: str) -> None:
        """Print `boot: Starting the VM`."""
        self._phase = name
        self._last = self._clock()
        self._line(f"{name}: {title}")

    def detail(self, text: str) -> None:
        """Print `boot: waiting for SSH`, unless another detail was just shown."""
        now = self._clock()
        if text and now - self._last >= self._every:
            self._last = now
            self._line(f"{self._phase}: {text}")

    def phase_finished(self, record: PhaseRecord) -> None:
        """Print `boot: done in 34 s`."""
        verb = f"{record.result} after" if record.result == "failed" else f"{record.result} in"
        self._line(f"{record.name}: {verb} {formatting.duration(record.seconds)}")

    def note(self, text: str) -> None:
        """Print `note: ...`."""
        self._line(f"note: {text}")

    def _line(self, line: str) -> None:
        self._console.print(Text(formatting.safe(line)), soft_wrap=True)


class LiveReporter:
    """Prints a line per finished phase, and keeps a moving line for the current one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._now: _Current | None = None

    def phase_started(self, name: str, title: str) -> None:  # noqa: ARG002
        """Show the phase with a spinner and the elapsed time."""
        self.close()
        self._now = _Current(title)
        self._live = Live(self._now, console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def detail(self, text: str) -> None:
        """Replace the text beside the elapsed time."""
        if self._now is not None:
            self._now.detail = text

    def phase_finished(self, record: PhaseRecord) -> None:
        """Replace the moving line with a finished one."""
        self.close()
        mark, plain, style = _MARKS.get(record.result, _MARKS["skipped"])
        if not self._console.encoding.lower().startswith("utf"):
            mark = plain
        self._console.print(_row(Text(mark, style=style), record.title, record.seconds, ""))

    def note(self, text: str) -> None:
        """Print a dim line above the moving one."""
        self._console.print(Text(f"   {formatting.safe(text)}", style="dim"))

    def close(self) -> None:
        """Remove the moving line, so that something else can be printed."""
        if self._live is not None:
            self._live.stop()
        self._live = None
        self._now = None


class _Current:
    """The current phase, drawn anew each time."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self._spinner = Spinner("dots", style="cyan")
        self._start = time.monotonic()

    def __rich_console__(self, console: Console, options: object) -> RenderResult:
        utf = console.encoding.lower().startswith("utf")
        mark = self._spinner.render(console.get_time()) if utf else Text("..", style="cyan")
        assert isinstance(mark, Text)
        yield _row(mark, self.title, time.monotonic() - self._start, self.detail)


def _row(mark: Text, title: str, seconds: float, detail: str) -> Text:
    """Mark, title, elapsed time and detail in one line, cut at the end if it doesn't fit."""
    name = Text(title)
    name.truncate(_TITLE_WIDTH, overflow="ellipsis", pad=True)
    row = Text.assemble(" ", mark, " ", name, no_wrap=True, overflow="ellipsis")
    row.append(f" {formatting.duration(seconds):>{_TIME_WIDTH}}", style="dim")
    first_line = formatting.safe(detail).partition("\n")[0]
    if first_line:
        row.append(f"  {first_line}", style="dim")
    return row
