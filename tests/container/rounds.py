"""Tries drifts in rounds: several unrelated drifts at once, and one verification of the machine.

Each drift must fail as if it were alone: its own checks fail, and no check fails that does not
belong to the round. If a round fails, its drifts are tried one by one, so that a single drift is
reported rather than a round.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.container.drifts_form import Drift


@dataclass(frozen=True)
class Verdict:
    """How the failed checks differ from those expected for a drift.

    Attributes:
        unconcerned: Checks that should not have failed, and their messages.
        silent: Expected checks, as names or patterns, none of which failed.
    """

    unconcerned: Mapping[str, str]
    silent: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.unconcerned or self.silent)


@dataclass
class Rounds:
    """Tries drifts on demand.

    Attributes:
        drifts: The drifts that will be asked for.
        run: Runs a shell command on the machine, as root; raises an exception if it fails.
        look: Returns the checks that currently fail, and their messages.
        folder: Where to keep notes on the machine.
        tried: The number of drifts in each round so far; 1 for a drift tried alone.
    """

    drifts: Sequence[Drift]
    run: Callable[[str], object]
    look: Callable[[], Mapping[str, str]]
    folder: str = "/root"
    tried: list[int] = field(default_factory=list)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Decide which drifts are tried together."""
        self._round_of = {drift.name: some for some in together(self.drifts) for drift in some}

    def verdict(self, drift: Drift) -> Verdict:
        """How the result of this drift differed from what was expected.

        Raises:
            Exception: the drift's own commands failed: what `run` raises.
        """
        if drift.name not in self._verdicts and len(some := self._round_of[drift.name]) > 1:
            try:
                verdicts = self._try(some)
            except AssertionError:  # a command failed, and everything was undone
                verdicts = {}
            if len(verdicts) == len(some) and not any(verdicts.values()):
                self._verdicts |= verdicts
            else:
                self._round_of |= {one.name: [one] for one in some}
        if drift.name not in self._verdicts:
            self._verdicts |= self._try([drift])
        return self._verdicts[drift.name]

    def _try(self, drifts: Sequence[Drift]) -> dict[str, Verdict]:
        self.tried.append(len(drifts))
        try:
            self.run(self._applying(drifts))
            found = self.look()
        finally:
            self.run(self._undoing(drifts))
        concerned = [pattern for drift in drifts for pattern in drift.expected]
        surplus = {name: said for name, said in found.items() if not _matches(name, concerned)}
        return {
            drift.name: Verdict(
                surplus,
                tuple(one for one in drift.expected if not any(_matches(n, [one]) for n in found)),
            )
            for drift in drifts
        }

    def _applying(self, drifts: Sequence[Drift]) -> str:
        """A script that applies drifts, up to the first that fails."""
        lines = [f": >{self.folder}/begun"]
        for drift in drifts:
            lines.append(f"echo {drift.name} >>{self.folder}/begun")
            lines.append(self._alone(drift, drift.apply))
        return "\n".join(lines)

    def _undoing(self, drifts: Sequence[Drift]) -> str:
        """A script that undoes drifts that were begun, in reverse order; failures don't stop it."""
        lines = ["failed="]
        for drift in reversed(drifts):
            begun = f"grep -qx {drift.name} {self.folder}/begun"
            undo = self._alone(drift, drift.undo)
            lines.append(f"! {begun} || {undo} || failed={drift.name}")
        return "\n".join([*lines, f"rm {self.folder}/begun", 'test -z "$failed"'])

    def _alone(self, drift: Drift, command: str) -> str:
        return f"kept={self.folder}/kept-{drift.name} sh -euc {shlex.quote(command)}"


def together(drifts: Iterable[Drift]) -> list[list[Drift]]:
    """Group drifts that have nothing in common into few rounds of similar size."""
    rounds: list[list[Drift]] = []
    # Place those first that mention and affect most.
    for drift in sorted(drifts, key=lambda one: (-len(one.things), -len(one.expected), one.name)):
        free = [some for some in rounds if not any(_meet(drift, other) for other in some)]
        if free:
            min(free, key=len).append(drift)
        else:
            rounds.append([drift])
    return rounds


def _meet(a: Drift, b: Drift) -> bool:
    """Whether two drifts could affect the same check, or interfere with each other."""
    return bool(
        a.alone
        or b.alone
        or a.things & b.things
        or any(_overlap(one, other) for one in a.expected for other in b.expected)
    )


def _overlap(a: str, b: str) -> bool:
    """Whether a name could match both; errs on the side of yes."""
    if "*" not in a + b:
        return a == b
    a, b = a.partition("*")[0], b.partition("*")[0]
    return a.startswith(b) or b.startswith(a)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
