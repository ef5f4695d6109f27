"""Carry out a rollout, wave by wave.

`carry_out` continues from what the record says, whatever happened to the process before. One thread
decides; each VM is changed in its own thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from devvm.domain.errors import DevvmError, HostNotReadyError, LockedError, NotFoundError
from devvm.domain.rollout import quiet_hours
from devvm.domain.rollout.message import Kind, Message
from devvm.domain.rollout.plan import CANARY
from devvm.domain.rollout.state import POSTPONED, SETTLED, Cause, Event, Ledger, Mark, State
from devvm.domain.rollout.state import VmState as Step
from devvm.operations.core.machine import Machine
from devvm.operations.core.parallel import SideBySide
from devvm.operations.core.progress import Run
from devvm.operations.rollout import vm_step
from devvm.operations.rollout.notify import Messenger
from devvm.operations.rollout.reporter import VmReporter
from devvm.operations.rollout.store import Request, RolloutLog, now
from devvm.operations.update import strategy
from devvm.operations.vm import requirements
from devvm.ports.services import Services

#: Seconds between checks for requests.
_TICK = 1.0
_KINDS: Mapping[State, Kind] = {
    State.FAILED: "failure",
    State.ABORTED: "aborted",
    State.ROLLED_BACK: "rolled-back",
}
#: MiB of host memory that Ansible and its processes need for one VM.
_MEMORY_MIB = 256


@dataclass(frozen=True)
class _Stop:
    """Why a rollout pauses; `why` is for people."""

    cause: Cause
    why: str


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The clock, replaced by tests; `now` is in the host's zone, like quiet hours and pins."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass
class Rollout:
    """A rollout that this process carries out, holding the rollout lock.

    Attributes:
        services: The adapters to use.
        log: Its record.
        by: Login of the person who carries it out.
        messenger: Sends notifications.
        clock: The time source.
        interrupted: Set it to pause the rollout once no VM is half updated.
        stopped: Set if the work on VMs was stopped, which then doesn't count as a failure.
    """

    services: Services
    log: RolloutLog
    by: str
    messenger: Messenger
    clock: Clock = field(default_factory=Clock)
    interrupted: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Load the plan, the events and the release."""
        plan, at = self.log.plan()
        self.plan = plan
        self._planned_at = at
        self.ledger = self._read()
        release = self.services.releases.find(plan.terms.release)
        if release is None:
            raise NotFoundError(
                f"the release {plan.terms.release} of the rollout {plan.id} is not on record",
                resolution="devvm release list",
            )
        self.release = release
        self._writing = threading.Lock()
        self._again_at: dict[str, datetime] = {}

    def carry_out(self) -> State:
        """Continue until the rollout has ended or is paused; return its state.

        If interrupted, it pauses once the VMs that are being changed are done.

        Raises:
            DevvmError: the record can't be written.
        """
        state = self.ledger.state
        if self.log.events() and not self.ledger.record.ended:
            going_on = State.RUNNING if state is State.PAUSED else state
            self.note(going_on, why=self.ledger.record.why, resumed=True)
        if state is State.ROLLING_BACK:
            self._bring_back(self.plan.vms, State.ROLLED_BACK, self.ledger.record.why)
        elif state is State.STOPPING:
            self._bring_back(self._of_wave(), State.FAILED, self.ledger.record.why)
        elif not self.ledger.record.ended:
            self._forward()
        return self.ledger.state

    @property
    def stuck(self) -> bool:
        """Whether a VM could not be rolled back."""
        return any(self.ledger.vm(n).state is Step.STUCK for n in self.plan.vms)

    def roll_back(self, why: str) -> State:
        """Roll every VM that this rollout updated back to its previous state."""
        if self.ledger.state is State.ROLLING_BACK:
            return self.carry_out()
        self.note(State.ROLLING_BACK, why=why)
        self._bring_back(self.plan.vms, State.ROLLED_BACK, why)
        return self.ledger.state

    def abort(self, why: str) -> State:
        """Start no more VMs, and roll back those that are half updated."""
        half_way = [n for n in self.plan.vms if self.ledger.vm(n).state is Step.UPDATING]
        self._bring_back(half_way, State.ABORTED, why)
        return self.ledger.state

    def note(self, what: str, vm: str | None = None, **facts: object) -> None:
        """Record an event, then update the ledger."""
        event = Event(at=now(), by=self.by, what=str(what), vm=vm, facts=facts)
        with self._writing:
            self.log.append(event, durable=what not in (Mark.PHASE, Mark.NOTE))
            self.ledger.add(event)

    # Forward -------------------------------------------------------------------------------

    def _forward(self) -> None:
        fresh = not self.ledger.record.wave
        if fresh:
            self.note(State.RUNNING)
            self._tell(
                "start",
                f"{self.plan.terms.release} is being rolled out to {len(self.plan.vms)} VMs",
            )
        for wave in self.plan.waves:
            if not self._carry_out_wave(wave.name, wave.vms):
                return
        late = [n for n in self.plan.vms if self.ledger.vm(n).state is Step.LATER]
        if late and not self._carry_out_wave(POSTPONED, late):
            return
        counts = self.ledger.record.counts()
        text = ", ".join(f"{number} {step}" for step, number in sorted(counts.items()))
        self.note(State.DONE)
        self._tell("done", f"{self.plan.terms.release} is rolled out: {text}")

    def _carry_out_wave(self, name: str, vms: Sequence[str]) -> bool:
        """Update a wave; return whether the rollout continues."""
        left = [n for n in vms if self._unsettled(n) or name == POSTPONED]
        failed = sum(map(self._failed, vms))
        if failed > self._allowed(name):  # killed before it could record the failure
            self._fail(name, failed)
            return False
        if not left:
            return True
        if self.ledger.record.wave != name:
            self.note(Mark.WAVE, name=name)
            self._tell("wave", f"{name}: {len(vms)} VMs", vms=list(vms))
        if not self._change(left, name):
            return False
        if name == CANARY and not any(self.ledger.vm(n).state is Step.DONE for n in vms):
            why = "no canary could be updated, so the release is still untested"
            self._pause(_Stop(Cause.CANARY, why))
            return False
        return True

    def _change(self, names: Sequence[str], wave: str) -> bool:
        """Update VMs in parallel; return whether the rollout continues."""
        queue, allowed = list(names), self._allowed(wave)
        stop: _Stop | None = None
        failed = sum(map(self._failed, self._of_wave()))
        with SideBySide(self.plan.terms.parallel) as pool:
            while queue or pool.busy:
                stop = stop or self._wish()
                if stop or failed > allowed:
                    queue.clear()
                elif lack := self._lack(pool):
                    stop = None if pool.busy else _Stop(Cause.HOST, lack)
                else:
                    for name in self._ready(queue, pool):
                        queue.remove(name)
                        pool.submit(name, self._step, name)
                for name, future in pool.ended(_TICK):
                    try:
                        if self._take(name, future.result(), wave):
                            queue.append(name)
                    except HostNotReadyError as error:
                        stop = _Stop(Cause.HOST, f"{error.brief}: {error.details}")
                        self.note(Step.WAITING, name, why=stop.why)
                    except DevvmError as error:
                        failed += self._note_failure(name, error)
                if queue and not pool.busy:
                    self.clock.sleep(_TICK)
        if failed > allowed:
            self._fail(wave, failed)
        elif self.log.request() == "abort":
            self.abort(_asked_to("abort"))
        elif stop:
            self._pause(stop)
        else:
            return True
        self.log.clear_request()
        return False

    def _wish(self) -> _Stop | None:
        """Why to start no more VMs, a request or an interrupt; None if there is neither."""
        if request := self.log.request():
            return _Stop(Cause.REQUEST, _asked_to(request))
        return _Stop(Cause.INTERRUPT, "interrupted") if self.interrupted.is_set() else None

    def _lack(self, pool: SideBySide) -> str:
        """What the host lacks to update one more VM; empty if nothing."""
        if not pool.free:
            return ""
        _, free_mib = self.services.host.memory_mib()
        if free_mib < _MEMORY_MIB:
            return f"the host has only {free_mib} MiB of memory left"
        try:
            requirements.require_space(self.services, None)
        except HostNotReadyError as error:
            return f"{error.brief}: {error.details}"
        return ""

    def _ready(self, queue: Sequence[str], pool: SideBySide) -> list[str]:
        """The VMs to work on now, at most as many as the pool has room for."""
        at, found = self.clock.now(), list[str]()
        for name in queue:
            if len(found) >= pool.free:
                break
            until = self._again_at.get(name)
            if until is not None and until > at:
                continue
            begun = self.ledger.vm(name).tries  # finish what has begun, even in quiet hours
            if not begun and (quiet_until := self._quiet_until(name, at)):
                self._again_at[name] = quiet_until
                title = f"quiet hours until {quiet_until:%H:%M}"
                self.note(Mark.PHASE, name, title=title, quiet_until=quiet_until.isoformat())
                continue
            found.append(name)
        return found

    def _quiet_until(self, name: str, at: datetime) -> datetime | None:
        settings = self.services.config.rollout
        hours = settings.quiet_hours_of.get(name, settings.quiet_hours)
        return quiet_hours.until([quiet_hours.parse(text) for text in hours], at)

    def _step(self, name: str) -> vm_step.Outcome:
        """Work on one VM, in its own thread."""
        run = self._run(name, "update")
        return vm_step.step(
            self.services,
            self.plan,
            self.release,
            self.ledger.vm(name),
            run,
            by=self.by,
            now=self.clock.now(),
            tell=lambda step, facts: self.note(step, name, **facts),
        )

    def _take(self, name: str, outcome: vm_step.Outcome, wave: str) -> bool:
        """Record the outcome of a step; return whether to look at the VM again."""
        if outcome.again_at is not None:
            self._again_at[name] = outcome.again_at
        step = outcome.step
        if step is Step.LATER and wave == POSTPONED:
            self.note(Step.LEFT, name, **outcome.facts)
        elif step is not None:
            self.note(step, name, **outcome.facts)
        elif why := outcome.facts.get("why"):
            self.note(Mark.PHASE, name, title=why)
        return step in (None, Step.ASKED)

    def _note_failure(self, name: str, error: DevvmError) -> bool:
        """Record that a VM could not be updated; return whether that counts as a failure."""
        vm = self.services.domains.vm(name)
        half_way = vm is not None and strategy.began(vm, self.release)
        stuck = half_way or self.services.state.journal(name) is not None
        details = "\n".join(filter(None, [error.brief, error.details]))
        log = str(error.log) if error.log else ""
        if self.stopped.is_set() and not stuck:
            self.note(Step.WAITING, name, why="interrupted; it is as it was before")
            return False
        step = Step.STUCK if stuck else Step.FAILED
        self.note(step, name, why=details, failure=error.failure, log=log)
        self._tell("failure", f"{name}: {error.brief}", vm=name, details=details, log=log)
        return True

    def _fail(self, wave: str, failed: int) -> None:
        why = (
            f"{failed} of the {wave} failed" if wave == CANARY else f"{failed} VMs of {wave} failed"
        )
        self.note(State.STOPPING, why=why)
        self._bring_back(self._of_wave(), State.FAILED, why)

    def _pause(self, stop: _Stop) -> None:
        self.note(State.PAUSED, why=stop.why, cause=stop.cause)
        self._tell("paused", f"paused: {stop.why}")

    # Back ----------------------------------------------------------------------------------

    def _bring_back(self, names: Sequence[str], state: State, why: str) -> None:
        """Roll VMs back, the last ones first, and end the rollout with `state`."""
        self.ledger = self._read()  # VMs that started meanwhile have added events
        steps = (Step.DONE, Step.UPDATING, Step.GOING_BACK, Step.STUCK)
        queue = [n for n in reversed(names) if self.ledger.vm(n).state in steps]
        with SideBySide(self.plan.terms.parallel) as pool:
            while queue or pool.busy:
                while queue and pool.free:
                    name = queue.pop(0)
                    pool.submit(name, self._back, name)
                for name, future in pool.ended(_TICK):
                    try:
                        step, facts = future.result()
                        self.note(step, name, **facts)
                    except DevvmError as error:
                        log = str(error.log) if error.log else ""
                        self.note(Step.STUCK, name, why=f"{error.brief}: {error.details}", log=log)
        for name in self.plan.vms:
            if self.ledger.vm(name).state is Step.DUE and self._forget_due(name):
                self.note(Step.LEFT, name, why=f"the rollout is {state}")
        self.note(state, why=why)
        self._tell(_KINDS[state], f"{state}: {why}")

    def _back(self, name: str) -> tuple[Step, dict[str, Any]]:
        """Roll one VM back, in its own thread."""
        progress = self.ledger.vm(name)
        if progress.state is not Step.UPDATING:
            self.note(Step.GOING_BACK, name)
        return vm_step.back(self.services, self.release, progress, self._run(name, "rollback"))

    def _forget_due(self, name: str) -> bool:
        """Cancel the update of a due VM, waiting for its lock; return whether it is cancelled."""
        while True:
            try:
                return vm_step.forget_due(Machine(self.services, name), self.plan, self.release)
            except LockedError:
                self.clock.sleep(_TICK)

    # Helpers -------------------------------------------------------------------------------

    def _of_wave(self) -> tuple[str, ...]:
        """The VMs of the current wave."""
        name = self.ledger.record.wave
        if name == POSTPONED:
            return tuple(n for n in self.plan.vms if self.ledger.vm(n).put_off)
        return next((wave.vms for wave in self.plan.waves if wave.name == name), ())

    def _read(self) -> Ledger:
        ledger = Ledger(self.plan, self._planned_at)
        for event in self.log.events():
            ledger.add(event)
        return ledger

    def _allowed(self, wave: str) -> int:
        """How many VMs of a wave may fail."""
        return 0 if wave == CANARY else self.plan.terms.max_failures

    def _unsettled(self, name: str) -> bool:
        return self.ledger.vm(name).state not in SETTLED

    def _failed(self, name: str) -> bool:
        return self.ledger.vm(name).state in (Step.FAILED, Step.STUCK)

    def _run(self, name: str, verb: str) -> Run:
        return Run(f"{verb} {name}", VmReporter(name, self.note))

    def _tell(self, kind: Kind, text: str, **facts: object) -> None:
        message = Message(
            kind=kind,
            rollout=self.plan.id,
            release=self.plan.terms.release,
            at=now(),
            by=self.by,
            text=f"rollout {self.plan.id}: {text}",
            facts=facts,
        )
        for complaint in self.messenger.tell(message):
            self.note(Mark.NOTE, text=complaint)


def _asked_to(request: Request) -> str:
    return f"somebody asked to {request} it"
