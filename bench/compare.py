"""Which ratios have grown since the ones that the repository keeps.

Times are divided by a yardstick of the same run, which takes out how fast the machine is.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench import contenders
from bench.results import Results, Yardstick

#: What a ratio may grow by.
ALLOWED = 0.25
#: A phase that grew by less than this part of the yardstick is noise.
_NOISE = 0.02
_OUTSIDE = "outside of phases"


@dataclass(frozen=True)
class Growth:
    """A ratio that grew.

    Attributes:
        key: The contender.
        phase: What of it grew most: a phase, or the time outside of them; None if it has no phases.
        before: The contender's ratio, as kept.
        now: The contender's ratio.
        phase_before: The phase's ratio, as kept.
        phase_now: The phase's ratio.
    """

    key: str
    phase: str | None
    before: float
    now: float
    phase_before: float
    phase_now: float

    def line(self, yardstick: str) -> str:
        """One line for people."""
        title = contenders.contender(self.key).title
        text = f"{title}: {_change(self.before, self.now)} of {yardstick}"
        if self.phase is not None:
            text += f"; {self.phase}: {_change(self.phase_before, self.phase_now)}"
        return text


def compare(old: Results, new: Results) -> tuple[Yardstick | None, list[Growth]]:
    """What grew by more than 25 %, and what times were divided by.

    A contender is listed if its whole ratio grew, or that of a phase that matters. Only contenders
    that both runs have are compared.

    Returns:
        The yardstick of the new run, and the growths; no yardstick if the runs have none in common,
        and then nothing is compared.
    """
    known = {(one.key, one.phase): one for one in old.yardsticks()}
    for unit in new.yardsticks():
        before = known.get((unit.key, unit.phase))
        if before is not None:
            keys = [key for key in new.ordered() if key in old.samples]
            found = (_growth(old, before, new, unit, key) for key in keys)
            return unit, [growth for growth in found if growth]
    return None, []


def _growth(
    old: Results, before: Yardstick, new: Results, unit: Yardstick, key: str
) -> Growth | None:
    was, now = old.median(key), new.median(key)
    assert was is not None
    assert now is not None
    was, now = was / before.seconds, now / unit.seconds
    old_phases, new_phases = _parts(old, key), _parts(new, key)
    changes = [
        (new_phases.get(name, 0.0) / unit.seconds, old_phases.get(name, 0.0) / before.seconds, name)
        for name in {**old_phases, **new_phases}
        if (key, name) != (unit.key, unit.phase)
    ]
    mine, its, name = max(changes, key=lambda one: one[0] - one[1], default=(0.0, 0.0, None))
    phase_grew = _grew(its, mine) and mine - its > _NOISE
    # The yardstick itself is 1 in both runs; of it, only parts can grow.
    whole_grew = _grew(was, now) and (unit.key, unit.phase) != (key, None)
    if not phase_grew and not whole_grew:
        return None
    return Growth(key, name, was, now, its, mine)


def _parts(results: Results, key: str) -> dict[str, float]:
    """The phases of a contender, and its time outside of them."""
    phases, total = results.phases(key), results.median(key) or 0.0
    rest = max(total - sum(phases.values()), 0.0)
    return {**phases, _OUTSIDE: rest} if phases else {}


def _grew(before: float, now: float) -> bool:
    return now > before * (1 + ALLOWED)


def _change(before: float, now: float) -> str:
    grown = f" ({now / before - 1:+.0%})" if before else ""
    return f"{now:.3g} x, was {before:.3g} x{grown}"
