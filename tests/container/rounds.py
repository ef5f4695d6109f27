"""Tries drifts in rounds: several unrelated drifts, and one verification of the machine.

Each drift must fail as if it were alone: its own checks report it, and no check fails that does not
belong to the round. If a round fails, its drifts are tried one by one, so that a single drift is
reported, not a round.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.container.drifts_form import Drift


@dataclass(frozen=True)
class Verdict:
    """What was otherwise than a drift should be reported.

    Attributes:
        unconcerned: Checks that told and should not have, and what they said.
        silent: Expected checks, as names or patterns, of which none told.
    """

    unconcerned: Mapping[str, str]
    silent: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.unconcerned or self.silent)


@dataclass
class Rounds:
    """Tries drifts, when they are asked for.

    Attributes:
        drifts: Those that will be asked for.
        run: Runs a shell command on the machine, as root; raises where it fails.
        look: The checks that tell now, and what they say.
        folder: Where on the machine notes can be kept.
        tried: How many drifts were tried together, by round; of one where it was tried alone.
    """

    drifts: Sequence[Drift]
    run: Callable[[str], object]
    look: Callable[[], Mapping[str, str]]
    folder: str = "/root"
    tried: list[int] = field(default_factory=list)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Decide which are tried together."""
        self._round_of = {drift.name: some for some in together(self.drifts) for drift in some}

    def verdict(self, drift: Drift) -> Verdict:
        """What was otherwise than expected when this drift was there.

        Raises:
            Exception: what `run` raises, of this drift's own commands.
        """
        if drift.name not in self._verdicts and len(some := self._round_of[drift.name]) > 1:
            try:
                verdicts = self._try(some)
            except AssertionError:  # a command failed, and all is undone
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
        """A script that undoes those that were begun with, the last ones first, whichever fails."""
        lines = ["failed="]
        for drift in reversed(drifts):
            begun = f"grep -qx {drift.name} {self.folder}/begun"
            undo = self._alone(drift, drift.undo)
            lines.append(f"! {begun} || {undo} || failed={drift.name}")
        return "\n".join([*lines, f"rm {self.folder}/begun", 'test -z "$failed"'])

    def _alone(self, drift: Drift, command: str) -> str:
        return f"kept={self.folder}/kept-{drift.name} sh -euc {shlex.quote(command)}"


def together(drifts: Iterable[Drift]) -> list[list[Drift]]:
    """Drifts in few rounds, of about the same size, of such as have nothing in common."""
    rounds: list[list[Drift]] = []
    # Those with most to tell and to name find a place first.
    for drift in sorted(drifts, key=lambda one: (-len(one.things), -len(one.expected), one.name)):
        free = [some for some in rounds if not any(_meet(drift, other) for other in some)]
        if free:
            min(free, key=len).append(drift)
        else:
            rounds.append([drift])
    return rounds


def _meet(a: Drift, b: Drift) -> bool:
    """Whether two drifts could be told by one check, or be in each other's way."""
    return bool(
        a.alone
        or b.alone
        or a.things & b.things
        or any(_overlap(one, other) for one in a.expected for other in b.expected)
    )


def _overlap(a: str, b: str) -> bool:
    """Whether a name could match both; rather too often than too seldom."""
    if "*" not in a + b:
        return a == b
    a, b = a.partition("*")[0], b.partition("*")[0]
    return a.startswith(b) or b.startswith(a)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
