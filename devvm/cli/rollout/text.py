"""A rollout in progress: a picture of limited height on a terminal, lines otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from devvm.cli import formatting
from devvm.cli.rollout import sentences
from devvm.domain.rollout.state import SETTLED, Record, State, VmProgress, VmState

_BAR = 20
#: The maximum number of rows of each part, however many VMs and waves there are.
_WAVES, _AT_WORK, _ENDED = 8, 10, 8
_STYLES = {
    VmState.FAILED: "red", VmState.STUCK: "bold red", VmState.LEFT: "yellow",
    VmState.UPDATING: "cyan", VmState.GOING_BACK: "cyan",
}  # fmt: skip
_STATE_STYLES = {
    State.DONE: "bold green", State.FAILED: "bold red", State.STOPPING: "bold red",
    State.PAUSED: "bold yellow", State.ABORTED: "bold yellow",
}  # fmt: skip


class Picture:
    """The current state of a rollout, redrawn each time.

    Args:
        look: Returns the record; None before there is one.
        now: Returns the time.
    """

    def __init__(
        self,
        look: Callable[[], Record | None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._look = look
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        record = self._look()
        if record is None:
            yield Text("Preparing the rollout", style="dim")
            return
        yield from rows(record, self._now(), height=console.height)


def rows(record: Record, now: datetime, *, height: int) -> Iterator[Text]:
    """The rows of a picture, each cut at the width of the terminal.

    Args:
        record: The record of the rollout.
        now: The time.
        height: The height of the terminal; the picture is lower.
    """
    head = [_head(record, now), *_waves(record)]
    waited = list(_waited_for(record))
    room = max(4, height - len(head) - len(waited) - 4)  # minus gaps and the cursor's row
    at_work = _at_work(record)
    ended = _ended_badly(record)
    shown = min(len(at_work), _AT_WORK, max(2, room - min(len(ended), _ENDED, room // 2)))
    below = min(len(ended), _ENDED, max(2, room - shown))
    yield from head
    yield from _part(
        [_working(vm, now) for vm in at_work[:shown]], len(at_work), "more in progress"
    )
    yield from _part([_bad(vm) for vm in ended[:below]], len(ended), "more: devvm rollout status")
    if waited:
        yield Text()
        yield from waited


def _part(shown: list[Text], total: int, more: str) -> Iterator[Text]:
    """Rows below a gap; the last one counts those that are not shown."""
    if not shown:
        return
    yield Text()
    if total > len(shown):
        shown = [*shown[:-1], _row((f"  and {total - len(shown) + 1} {more}", "dim"))]
    yield from shown


def _row(*parts: str | tuple[str, str]) -> Text:
    safe = [
        formatting.safe(p) if isinstance(p, str) else (formatting.safe(p[0]), p[1]) for p in parts
    ]
    return Text.assemble(*safe, no_wrap=True, overflow="ellipsis")


def _head(record: Record, now: datetime) -> Text:
    elapsed = sentences.seconds_between(record.started_at, record.ended_at or now)
    return _row(
        (f"{record.plan.id}: ", "bold"),
        (str(record.state), _STATE_STYLES.get(record.state, "bold cyan")),
        f", {formatting.duration(elapsed)}",
        (f", to {record.plan.terms.release}", "dim"),
        f"  {sentences.first_line(record.why)}" if record.why else "",
    )


def _waves(record: Record) -> Iterator[Text]:
    waves = record.plan.waves
    at = next((i for i, wave in enumerate(waves) if wave.name == record.wave), 0)
    first = max(0, min(at - _WAVES // 2, len(waves) - _WAVES))
    shown = waves[first : first + _WAVES]
    wide = max((len(wave.name) for wave in shown), default=0)
    for wave in shown:
        counts = record.counts(wave)
        settled, total = sum(counts[state] for state in SETTLED), len(wave.vms)
        full = _BAR * settled // total if total else 0
        yield _row(
            (f"  {wave.name:<{wide}}  ", "bold" if wave.name == record.wave else ""),
            f"[{'#' * full}{'.' * (_BAR - full)}] ",
            f"{settled} of {total}",
            (f"  {sentences.counts(counts, waiting=False)}", "dim"),
        )
    if len(waves) > len(shown):
        yield _row((f"  and {len(waves) - len(shown)} more waves", "dim"))


def _at_work(record: Record) -> list[VmProgress]:
    """The VMs that are being updated or checked, the longest first."""
    found = [vm for vm in record.vms.values() if _is_at_work(record, vm)]
    return sorted(found, key=lambda vm: (not vm.since, vm.since, vm.name))


def _is_at_work(record: Record, vm: VmProgress) -> bool:
    if vm.state in (VmState.UPDATING, VmState.GOING_BACK):
        return True
    looked_at = vm.state is VmState.WAITING and vm.phase and not vm.quiet_until
    return bool(looked_at) and record.state is State.RUNNING


def _working(vm: VmProgress, now: datetime) -> Text:
    elapsed = f"{formatting.duration(sentences.seconds_between(vm.since, now)):>11}"
    what = vm.phase or str(vm.state)
    return _row(
        (f"  {vm.name:<16} ", "bold"),
        (elapsed if vm.since else " " * 11, "dim"),
        (f"  {what}", _STYLES.get(vm.state, "")),
    )


def _ended_badly(record: Record) -> list[VmProgress]:
    """The VMs that were not updated: failures first, then latest first."""
    bad = (VmState.STUCK, VmState.FAILED, VmState.LEFT)
    found = [vm for vm in record.vms.values() if vm.state in bad]
    found.sort(key=lambda vm: vm.since, reverse=True)
    return sorted(found, key=lambda vm: bad.index(vm.state))


def _bad(vm: VmProgress) -> Text:
    return _row(
        (f"  {vm.name:<16} ", "bold"),
        (f"{vm.state:<11}", _STYLES.get(vm.state, "")),
        f"  {sentences.why(vm)}",
    )


def _waited_for(record: Record) -> Iterator[Text]:
    """What the rollout is waiting for: people who were asked, quiet hours, postponed VMs."""
    if record.ended:
        return
    of = list(record.vms.values())
    asked = [
        f"{vm.name} ({vm.why}, until {sentences.clock(vm.deadline)})"
        for vm in of
        if vm.state is VmState.ASKED
    ]
    quiet = [vm for vm in of if vm.state is VmState.WAITING and vm.quiet_until]
    late = [vm.name for vm in of if vm.state is VmState.LATER]
    if asked:
        yield _row(("  asked: ", "yellow"), sentences.names(asked, 1))
    if quiet:
        until = sentences.clock(quiet[0].quiet_until)
        names = sentences.names([vm.name for vm in quiet], 3)
        yield _row(("  quiet hours: ", "yellow"), f"{names} until {until}")
    if late:
        yield _row(("  later: ", "yellow"), sentences.names(late, 3))


class Lines:
    """Writes one line per change since the last look, except phases.

    Args:
        write: Writes a line.
        since: The record to compare the first look with; None if the rollout is new.
        notes_only: Write only notes; a picture shows the rest.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        since: Record | None = None,
        notes_only: bool = False,
    ) -> None:
        self._write = write
        self._notes_only = notes_only
        self._last = since

    def look(self, record: Record) -> None:
        """Write what has changed since the last look."""
        last, self._last = self._last, record
        for note in _new(last.notes if last else (), record.notes):
            self._write(note)
        if self._notes_only:
            return
        if record.wave and (last is None or last.wave != record.wave):
            self._write(f"{record.plan.id}: {record.wave}")
        for name, vm in record.vms.items():
            before = last.vms[name].state if last else VmState.WAITING
            if vm.state is not before:
                self._write(f"{name}: {sentences.vm(vm)}")
        if last is None or last.state is not record.state:
            why = sentences.first_line(record.why)
            self._write(f"{record.plan.id}: {record.state}" + (f": {why}" if why else ""))


def _new(old: tuple[str, ...], now: tuple[str, ...]) -> Iterable[str]:
    """The new entries of a list that also drops its oldest."""
    for gone in range(len(old) + 1):
        if (kept := old[gone:]) == now[: len(kept)]:
            return now[len(kept) :]
    return now
