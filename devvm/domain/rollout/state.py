"""A rollout's events, and the state that follows from them.

The events are the only record: everything known about a rollout is computed from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from devvm.domain.rollout.plan import Plan, Terms, Wave


class State(StrEnum):
    """The state of a rollout."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"  # after a failure: VMs of the wave in progress go back
    ROLLING_BACK = "rolling back"  # on request: all VMs go back
    FAILED = "failed"
    ABORTED = "aborted"
    DONE = "done"
    ROLLED_BACK = "rolled back"


#: States in which nothing more happens.
ENDED = frozenset({State.FAILED, State.ABORTED, State.DONE, State.ROLLED_BACK})


class VmState(StrEnum):
    """The state of a VM in a rollout."""

    WAITING = "waiting"
    ASKED = "asked"  # its active user has been asked
    UPDATING = "updating"
    DONE = "done"
    FAILED = "failed"  # and went back to its previous state
    LATER = "later"  # postponed by its owner; tried again after the last wave
    DUE = "due"  # off; updated when it next starts
    LEFT = "left"  # not changed: pinned, gone, already on the release
    GOING_BACK = "going back"
    BACK = "back"
    STUCK = "stuck"  # couldn't be taken back to its previous state


class Mark(StrEnum):
    """Events that don't change the state of a rollout or a VM."""

    WAVE = "wave"
    NOTE = "note"
    PHASE = "phase"


class Cause(StrEnum):
    """Why a rollout is paused."""

    REQUEST = "request"  # `devvm rollout pause`
    INTERRUPT = "interrupt"  # the process that carries it out was interrupted
    HOST = "host"  # the host lacks something that every VM needs
    CANARY = "canary"  # no canary could be updated


#: The name of the last wave: VMs whose owners have postponed the update.
POSTPONED = "postponed before"

#: States in which the wave no longer waits for a VM.
SETTLED = frozenset(VmState) - {
    VmState.WAITING, VmState.ASKED, VmState.UPDATING, VmState.GOING_BACK
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a rollout.

    Attributes:
        at: When; ISO 8601, UTC.
        by: A login. For what the rollout does by itself, whoever started it.
        what: A `State` or `Mark` of the rollout, or a `VmState` or `Mark` of a VM. A newer devvm
            may write others.
        vm: The VM that it concerns; None for the rollout itself.
        facts: Further fields.
    """

    at: str
    by: str
    what: str
    vm: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The event as stored."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}


@dataclass(frozen=True, kw_only=True)
class VmProgress:
    """A VM's progress in a rollout.

    Attributes:
        name: Its name.
        wave: The name of its wave.
        state: Its state.
        why: The reason for the state, for people.
        failure: What failed, in a line to show after the VM's name.
        since: When the state began; ISO 8601, UTC.
        way: The strategy: `converge` or `rebuild`.
        reason: Why this strategy.
        token: Identifies the saved state that it goes back to.
        phase: The phase in progress.
        quiet_until: When the quiet hours that it waits for end; ISO 8601. Empty if none.
        started_at: When its update began.
        seconds: How long the update took.
        checks: How many checks it passed, as `2801 of 2801`.
        log: The file with the raw output.
        deadline: Until when its active user can answer.
        tries: How many times its update was begun.
        put_off: Whether its owner has postponed it once.
    """

    name: str
    wave: str
    state: VmState = VmState.WAITING
    why: str = ""
    failure: str = ""
    since: str = ""
    way: str = ""
    reason: str = ""
    token: str = ""
    phase: str = ""
    quiet_until: str = ""
    started_at: str = ""
    seconds: float | None = None
    checks: str = ""
    log: str = ""
    deadline: str = ""
    tries: int = 0
    put_off: bool = False


class Tally(NamedTuple):
    """How many VMs had which result.

    Attributes:
        done: Updated to the release.
        failed: Not updated: back in their previous state, or stuck.
        waiting: Waiting for their owner, or for their next start.
        left: Still to come, left out, or taken back.
    """

    done: int
    failed: int
    waiting: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything known about a rollout."""

    plan: Plan
    state: State = State.RUNNING
    why: str = ""
    cause: Cause | None = None  # why it is paused, if known
    started_at: str = ""
    ended_at: str | None = None
    wave: str = ""  # the wave in progress
    vms: Mapping[str, VmProgress] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, wave: Wave) -> tuple[VmProgress, ...]:
        """The VMs of a wave."""
        return tuple(self.vms[name] for name in wave.vms)

    def counts(self, wave: Wave | None = None) -> Counter[VmState]:
        """How many VMs are in each state, of a wave or of all."""
        return Counter(vm.state for vm in (self.vms.values() if wave is None else self.of(wave)))

    def tally(self, wave: Wave | None = None) -> Tally:
        """How many VMs of a wave, or of all, had which result."""
        counts = self.counts(wave)
        done = counts[VmState.DONE]
        failed = counts[VmState.FAILED] + counts[VmState.STUCK]
        waiting = counts[VmState.ASKED] + counts[VmState.DUE] + counts[VmState.LATER]
        return Tally(done, failed, waiting, left=counts.total() - done - failed - waiting)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


class Ledger:
    """Computes a rollout's state, event by event, each in constant time.

    Args:
        plan: The rollout's plan.
        started_at: When it was planned.
    """

    def __init__(self, plan: Plan, started_at: str) -> None:
        self._record = Record(plan=plan, started_at=started_at)
        self._vms = {
            name: VmProgress(name=name, wave=wave.name) for wave in plan.waves for name in wave.vms
        }
        self._notes: list[str] = []

    @property
    def record(self) -> Record:
        """The state after the events so far."""
        return replace(self._record, vms=dict(self._vms), notes=tuple(self._notes[-20:]))

    @property
    def state(self) -> State:
        """The rollout's current state."""
        return self._record.state

    def vm(self, name: str) -> VmProgress:
        """A VM's current progress."""
        return self._vms[name]

    def add(self, event: Event) -> None:
        """Add an event; unknown ones, from a newer devvm, are ignored."""
        if event.vm is not None:
            self._of_vm(event)
        elif event.what in _STATES:
            state = State(event.what)
            self._record = replace(
                self._record,
                state=state,
                why=str(event.facts.get("why", "")),
                cause=_CAUSES.get(str(event.facts.get("cause"))),
                ended_at=event.at if state in ENDED else None,
            )
        elif event.what == Mark.WAVE:
            self._record = replace(self._record, wave=str(event.facts["name"]))
        elif event.what == Mark.NOTE:
            self._notes.append(str(event.facts.get("text", "")))

    def _of_vm(self, event: Event) -> None:
        assert event.vm is not None
        known = self._vms.get(event.vm)
        if known is None:
            return
        if event.what == Mark.PHASE:
            title, quiet = (str(event.facts.get(key, "")) for key in ("title", "quiet_until"))
            self._vms[event.vm] = replace(known, phase=title, quiet_until=quiet)
        elif event.what in _VM_STATES:
            state = VmState(event.what)
            begins = state is VmState.UPDATING
            given = {key: value for key, value in event.facts.items() if key in _VM_FACTS}
            self._vms[event.vm] = replace(
                known,
                **{
                    "why": "",
                    "failure": "",
                    "phase": "",
                    "quiet_until": "",
                    "deadline": "",
                    **given,
                    "state": state,
                    "since": event.at,
                    "started_at": event.at if begins else known.started_at,
                    "tries": known.tries + begins,
                    "put_off": known.put_off or state is VmState.LATER,
                },
            )


_STATES = frozenset(map(str, State))
_VM_STATES = frozenset(map(str, VmState))
_CAUSES = {str(cause): cause for cause in Cause}
_VM_FACTS = frozenset(
    {"why", "failure", "way", "reason", "token", "seconds", "checks", "log", "deadline"}
)  # fmt: skip


def plan_data(plan: Plan) -> dict[str, Any]:
    """The plan as stored."""
    return asdict(plan)


def plan_of(data: Mapping[str, Any]) -> Plan:
    """A plan from its stored form.

    Raises:
        KeyError, TypeError, ValueError: the data is invalid.
    """
    terms = dict(data["terms"])
    for name in ("waves", "only"):
        terms[name] = tuple(terms[name])
    return Plan(
        id=data["id"],
        by=data["by"],
        terms=Terms(**terms),
        waves=tuple(Wave(name=wave["name"], vms=tuple(wave["vms"])) for wave in data["waves"]),
        changes=tuple(data["changes"]),
    )


def add_up(plan: Plan, started_at: str, events: Iterable[Event]) -> Record:
    """The state of a rollout after these events."""
    ledger = Ledger(plan, started_at)
    for event in events:
        ledger.add(event)
    return ledger.record
