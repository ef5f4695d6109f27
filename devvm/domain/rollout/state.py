"""What has happened in a rollout: events, and what they add up to.

The events are the record: all that is known of a rollout follows from them, whoever reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from devvm.domain.rollout.plan import Plan, Terms, Wave


class State(StrEnum):
    """How a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"  # a failure; what is of its wave goes back
    ROLLING_BACK = "rolling back"  # somebody wants all VMs back
    FAILED = "failed"
    ABORTED = "aborted"
    DONE = "done"
    ROLLED_BACK = "rolled back"


#: States in which there is nothing more to do.
ENDED = frozenset({State.FAILED, State.ABORTED, State.DONE, State.ROLLED_BACK})


class VmState(StrEnum):
    """How far a VM is in a rollout."""

    WAITING = "waiting"
    ASKED = "asked"  # somebody is active in it, and has been asked
    UPDATING = "updating"
    DONE = "done"
    FAILED = "failed"  # and is as it was
    LATER = "later"  # its owner put it off; tried again after the last wave
    DUE = "due"  # does not run; brought there when it next starts
    LEFT = "left"  # not changed: pinned, gone, on the release already
    GOING_BACK = "going back"
    BACK = "back"
    STUCK = "stuck"  # could not be brought back


class Mark(StrEnum):
    """Events that are no state, of a rollout or of a VM."""

    WAVE = "wave"
    NOTE = "note"
    PHASE = "phase"


class Cause(StrEnum):
    """What a rollout is paused for."""

    REQUEST = "request"  # `devvm rollout pause`
    INTERRUPT = "interrupt"  # of the process that carries it out
    HOST = "host"  # lacks something that any VM needs
    CANARY = "canary"  # none could be changed


#: The name of the wave, after all others, of VMs whose people have postponed the update.
POSTPONED = "postponed before"

#: States in which a wave does not wait for a VM any more.
SETTLED = frozenset(VmState) - {
    VmState.WAITING, VmState.ASKED, VmState.UPDATING, VmState.GOING_BACK
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        at: When; ISO 8601, UTC.
        by: Who: a login; the rollout's own doing is its starter's.
        what: Its kind: a `State` or a `Mark` of the rollout, or a `VmState` or `Mark` of a VM; of
            a newer devvm also another.
        vm: The VM that it is about.
        facts: What else belongs to it.
    """

    at: str
    by: str
    what: str
    vm: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The event as it is written."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}


@dataclass(frozen=True, kw_only=True)
class VmProgress:
    """A VM in a rollout.

    Attributes:
        name: It.
        wave: Which wave it is in.
        state: How far it is.
        why: Why it is so, for people.
        failure: What failed, in a line that stands behind its name.
        since: Since when; ISO 8601, UTC.
        way: How it was or is brought there: `converge` or `rebuild`.
        reason: Why that way.
        token: Names the state that it goes back to.
        phase: What is done in it now.
        quiet_until: When the quiet hours end that it waits for; ISO 8601. Empty: it does not.
        started_at: When it was begun with.
        seconds: How long that took.
        checks: How many checks it passed, as `2801 of 2801`.
        log: Where the raw output is.
        deadline: When who was asked has to have answered.
        tries: How often it was begun with.
        put_off: Whether its owner has put it off once.
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
    """How many VMs came to what.

    Attributes:
        done: Brought to the release.
        failed: Not brought there: put back, or stuck.
        waiting: For somebody: their owner, or their next start.
        left: Still to come, left out, or taken back.
    """

    done: int
    failed: int
    waiting: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that is known of a rollout."""

    plan: Plan
    state: State = State.RUNNING
    why: str = ""
    cause: Cause | None = None  # of a pause, where it is known
    started_at: str = ""
    ended_at: str | None = None
    wave: str = ""  # the one at work
    vms: Mapping[str, VmProgress] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, wave: Wave) -> tuple[VmProgress, ...]:
        """The VMs of a wave."""
        return tuple(self.vms[name] for name in wave.vms)

    def counts(self, wave: Wave | None = None) -> Counter[VmState]:
        """How many VMs are in each state, of a wave or of all."""
        return Counter(vm.state for vm in (self.vms.values() if wave is None else self.of(wave)))

    def tally(self, wave: Wave | None = None) -> Tally:
        """What the VMs of a wave, or all, came to."""
        counts = self.counts(wave)
        done = counts[VmState.DONE]
        failed = counts[VmState.FAILED] + counts[VmState.STUCK]
        waiting = counts[VmState.ASKED] + counts[VmState.DUE] + counts[VmState.LATER]
        return Tally(done, failed, waiting, left=counts.total() - done - failed - waiting)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in ENDED


class Ledger:
    """Adds events up, one at a time, each at the same cost however many there were.

    Args:
        plan: The rollout's.
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
        """What it all adds up to now."""
        return replace(self._record, vms=dict(self._vms), notes=tuple(self._notes[-20:]))

    @property
    def state(self) -> State:
        """How the rollout is now."""
        return self._record.state

    def vm(self, name: str) -> VmProgress:
        """How far a VM is now."""
        return self._vms[name]

    def add(self, event: Event) -> None:
        """Take an event in; one that only a newer devvm knows is ignored."""
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
    """A plan as it is written."""
    return asdict(plan)


def plan_of(data: Mapping[str, Any]) -> Plan:
    """A plan as it was written.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
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
    """What a rollout's events add up to."""
    ledger = Ledger(plan, started_at)
    for event in events:
        ledger.add(event)
    return ledger.record
