"""Rollouts as text: the plan, the status of one, the list, the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devvm.cli import formatting
from devvm.cli.rollout import sentences
from devvm.cli.session import Session
from devvm.domain.release.strategy import Kind
from devvm.domain.rollout.state import Event, Record, State, VmProgress, VmState

if TYPE_CHECKING:
    from devvm.domain.rollout.plan import Plan, Terms
    from devvm.operations.rollout.plan import Planned

#: How many VMs of a wave a plan names, and in how many groups; `--all` shows all.
_NAMED, _GROUPS = 12, 6
#: How many changes of a release a plan lists; `devvm release show` has all.
_CHANGES = 12
#: How many VMs, and how many failures with their reasons, are shown; `--all` shows all.
_ROWS, _FAILURES = 20, 5
#: How many lines of a failure's reason to show.
_REASONS = 7
_BAD = (VmState.STUCK, VmState.FAILED)


# The plan -------------------------------------------------------------------------------------


def plan(session: Session, made: Plan, planned: Sequence[Planned], *, everything: bool) -> None:
    """Show which VMs are updated when and how, and what their owners will notice."""
    terms = made.terms
    changes = list(made.changes) or ["none that can be described"]
    if len(changes) > _CHANGES and not everything:
        more = f"and {len(changes) - _CHANGES} more: devvm release show {terms.release}"
        changes = [*changes[:_CHANGES], more]
    rows = [("" if number else "Changes", line) for number, line in enumerate(changes)]
    rows += [("", ""), *_terms(terms)]
    if any(one.strategy.kind is Kind.CONVERGE for one in planned):
        rows.append(("Also rebuilt", "VMs that differ from their own release,"))
        rows.append(("", "or need packages and can't reach the mirror"))
    session.output.facts(f"{terms.release} for {formatting.plural(len(planned), 'VM')}", rows)
    for wave in made.waves:
        session.output.line()
        of_wave = [one for one in planned if one.wave == wave.name]
        title = f"{wave.name}: {formatting.plural(len(of_wave), 'VM')}"
        session.output.facts(title, _wave(of_wave, everything=everything))
    if not everything and len(planned) > _NAMED:
        session.output.note("To list every VM by name: --all or --json")


def _terms(terms: Terms) -> list[tuple[str, str]]:
    asked = f"asked first, and have {terms.ask_minutes} minutes to respond"
    return [
        ("Parallel", formatting.plural(terms.parallel, "VM")),
        ("Stops", "if a canary fails; in a wave, if "
         + (f"more than {terms.max_failures} VMs fail" if terms.max_failures else "a VM fails")),
        ("Active users", f"are {asked if terms.ask_minutes else 'not asked'}"),
    ]  # fmt: skip


def _wave(planned: Sequence[Planned], *, everything: bool) -> list[tuple[str, str]]:
    alike: dict[tuple[object, ...], list[Planned]] = {}
    for one in planned:
        key = (one.release, one.strategy.kind, one.strategy.reason, one.notice, one.waits)
        alike.setdefault(key, []).append(one)
    groups = sorted(alike.values(), key=len, reverse=True)
    shown = groups if everything else groups[:_GROUPS]
    most = len(planned) if everything else max(2, _NAMED // len(shown))
    rows: list[tuple[str, str]] = []
    for group in shown:
        rows += [("", "")] * bool(rows) + _group(group, most)
    if len(groups) > len(shown):
        others = sum(map(len, groups[len(shown) :]))
        more = f"and {others} more, in {len(groups) - len(shown)} other groups"
        rows += [("", ""), ("VMs", more)]
    return rows


def _group(group: Sequence[Planned], most: int) -> list[tuple[str, str]]:
    first = group[0]
    rows = [
        ("VMs", sentences.names([_named(one) for one in group], most)),
        ("From", first.release),
        ("How", sentences.way(first.strategy.kind, first.strategy.reason)),
        ("Impact", first.notice),
    ]
    whys = list(dict.fromkeys(one.why for one in group if one.why))  # each pin has its own
    if whys:
        rows.append(("Note", sentences.names(whys, 2)))
    return rows


def _named(one: Planned) -> str:
    return one.name if one.engineer == one.name else f"{one.name} ({one.engineer})"


def summary(made: Plan, planned: Sequence[Planned]) -> str:
    """A plan in a few sentences, for the question before the start."""
    from devvm.operations.rollout.plan import Wait

    waves = ", ".join(f"{wave.name} {len(wave.vms)}" for wave in made.waves)
    vms = formatting.plural(len(planned), "VM")
    text = f"This rolls out {made.terms.release} to {vms}: {waves}."
    rebuilt = sum(one.strategy.kind is Kind.REBUILD for one in planned)
    if rebuilt:
        text += f" {rebuilt} of them will be rebuilt."
    pinned = sum(one.waits is Wait.PINNED for one in planned)
    if pinned:
        text += f" {pinned} {'are' if pinned > 1 else 'is'} pinned and will be skipped."
    off = sum(one.waits is Wait.OFF for one in planned)
    if off:
        are, start = ("are", "they start") if off > 1 else ("is", "it starts")
        text += f" {off} {are} not running and will be updated when {start}."
    return text


# One rollout ----------------------------------------------------------------------------------


def record(session: Session, found: Record, *, busy: str | None, everything: bool = False) -> None:
    """Show the status of a rollout, and what to type next.

    Args:
        session: The session of the command.
        found: The record of the rollout.
        busy: The process that runs it; None if there is none.
        everything: List every VM.
    """
    output = session.output
    good = found.state in (State.RUNNING, State.DONE, State.ROLLED_BACK)
    output.facts(f"Rollout {found.plan.id}: {found.state}", _facts(found, busy), good=good)
    output.line()
    output.table(
        ("WAVE", "VMS", "STATES"),
        [
            (wave.name, str(len(wave.vms)), sentences.counts(found.counts(wave)))
            for wave in found.plan.waves
        ],
    )
    output.line()
    _vms(session, found, everything=everything)
    failed = [vm for vm in found.vms.values() if vm.state in _BAD]
    for vm in failed if everything else failed[:_FAILURES]:
        _failure(session, vm)
    for sentence in _next(found, busy):
        output.line(sentence)


def _facts(found: Record, busy: str | None) -> list[tuple[str, str]]:
    end = found.ended_at or datetime.now(UTC)
    took = formatting.duration(sentences.seconds_between(found.started_at, end))
    rows = [("Release", found.plan.terms.release)]
    if found.why:
        rows.append(("Why", found.why))
    rows += [
        ("By", found.plan.by),
        ("Started", formatting.date(found.started_at)),
        ("Took" if found.ended_at else "Elapsed", took),
        ("VMs", f"{len(found.vms)}: {sentences.counts(found.counts())}"),
    ]
    if busy:
        rows.append(("Process", busy))
    return rows


def _vms(session: Session, found: Record, *, everything: bool) -> None:
    """Show a table of VMs, those that need attention first."""
    plain = (VmState.WAITING, VmState.DONE, VmState.BACK)
    order = [*_BAD, *(state for state in VmState if state not in (*_BAD, *plain)), *plain]
    vms = sorted(found.vms.values(), key=lambda vm: order.index(vm.state))
    few = everything or len(vms) <= _ROWS
    shown = vms if few else [vm for vm in vms if vm.state not in plain][:_ROWS]
    if shown:
        session.output.table(("VM", "WAVE", "STATE", "SINCE", "WHAT"), [_row(vm) for vm in shown])
    if len(vms) > len(shown):
        session.output.line(f"{len(vms) - len(shown)} more: --all")
    session.output.line()


def _row(vm: VmProgress) -> tuple[str, ...]:
    what = vm.phase or sentences.what(vm) or "-"
    return vm.name, vm.wave, str(vm.state), formatting.age(vm.since) or "-", what


def _failure(session: Session, vm: VmProgress) -> None:
    after = "could not be restored" if vm.state is VmState.STUCK else "is as it was before"
    session.output.line(f"{vm.name} {vm.state}, and {after}:")
    reasons = vm.why.splitlines()
    for line in reasons[:_REASONS]:
        session.output.line(f"  {line}")
    if len(reasons) > _REASONS:
        session.output.line(f"  and {len(reasons) - _REASONS} more lines in the log")
    if vm.log:
        session.output.line(f"  Log: {vm.log}")
    session.output.line()


def _next(found: Record, busy: str | None) -> Iterable[str]:
    """Sentences on what became of the VMs, and what to type next."""
    identifier, counts = found.plan.id, found.counts()
    if counts[VmState.STUCK]:
        yield f"Not restored: {_of(found, VmState.STUCK)}. Next: devvm doctor"
    if busy and not found.ended:
        yield "Next: devvm rollout status --follow"
        return
    match found.state:
        case State.DONE:
            if counts[VmState.DUE]:
                yield f"Updated at their next start: {_of(found, VmState.DUE)}"
            yield f"Next: devvm list; to roll back: devvm rollout rollback {identifier}"
        case State.FAILED:
            if counts[VmState.BACK]:
                yield f"Back on their own release: {_of(found, VmState.BACK)}"
            if counts[VmState.WAITING]:
                yield f"Not touched: {formatting.plural(counts[VmState.WAITING], 'VM')}"
            if counts[VmState.DONE]:
                done = formatting.plural(counts[VmState.DONE], "VM")
                back = f"devvm rollout rollback {identifier}"
                yield f"Still on it: {done} of earlier waves; to roll back: {back}"
            yield "Next: fix the release, then: devvm release create; devvm rollout start latest"
        case State.ABORTED:
            if counts[VmState.DONE]:
                done = formatting.plural(counts[VmState.DONE], "VM")
                yield f"Still on it: {done}; to roll back: devvm rollout rollback {identifier}"
            yield "Next: devvm list"
        case State.ROLLED_BACK:
            yield "Next: devvm list"
        case State.PAUSED:
            yield "Next: devvm rollout resume, or: devvm rollout abort"
        case _:
            yield "The process of the rollout was killed. Next: devvm rollout resume"


def _of(found: Record, state: VmState) -> str:
    return sentences.names([vm.name for vm in found.vms.values() if vm.state is state])


# The list, and the log of one -----------------------------------------------------------------


def listed(session: Session, records: Sequence[Record]) -> None:
    """Show a table of rollouts."""
    if not records:
        session.output.note("There are no rollouts yet. Next: devvm rollout plan latest")
        return
    session.output.table(
        ("ROLLOUT", "RELEASE", "STATE", "BY", "STARTED", "VMS"),
        [
            (
                one.plan.id, one.plan.terms.release, str(one.state), one.plan.by,
                formatting.date(one.started_at),
                f"{len(one.vms)}: {sentences.counts(one.counts())}",
            )
            for one in records
        ],
    )  # fmt: skip


def events(session: Session, happened: Sequence[Event]) -> None:
    """Show a table of events."""
    if not happened:
        session.output.note("There are no events")
        return
    session.output.table(
        ("WHEN (UTC)", "WHO", "VM", "WHAT", "RESULT"),
        [(_when(one.at), one.by, one.vm or "-", one.what, _result(one)) for one in happened],
    )


def _when(at: str) -> str:
    try:
        return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return at


def _result(happened: Event) -> str:
    facts = happened.facts
    parts = [str(facts[key]) for key in ("name", "text", "title") if facts.get(key)]
    if facts.get("way"):
        parts.append(sentences.way(str(facts["way"]), str(facts.get("reason", ""))))
    if facts.get("checks"):
        parts.append(f"{facts['checks']} checks pass")
    if isinstance(facts.get("seconds"), (int, float)):
        parts.append(formatting.duration(facts["seconds"]))
    if facts.get("why"):
        parts.append(sentences.first_line(str(facts["why"])))
    if facts.get("deadline"):
        parts.append(f"until {sentences.clock(str(facts['deadline']))}")
    if facts.get("log"):
        parts.append(str(facts["log"]))
    return ", ".join(parts) or "-"
