"""What the times should be (issue 13), and what a run says about that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import contenders
from bench.results import Results


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured.

    Attributes:
        goal: The goal.
        measured: The figure and what it is made of, or why there is none.
        met: Whether it is met; None if it was not measured.
    """

    goal: str
    measured: str
    met: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """Every goal, in the order of the issue."""
    return [goal(results) for goal in _GOALS]


def slowest_phases(results: Results, key: str, count: int = 3) -> str:
    """Where the time of a contender is: `boot 35 s, verify 10 s`; empty if it has no phases."""
    phases = sorted(results.phases(key).items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases[:count])


def _of_the_floor(title: str, key: str, limit: float) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        goal = f"{title} in at most {limit:g} x the floor"
        mine = results.median(key)
        ratios = dict(_ratios(results, key))
        if mine is None or not ratios:
            return _unknown(goal, results, key if mine is None else contenders.FLOOR)
        ratio = ratios[contenders.FLOOR]
        text = f"{ratio:.2f} x ({mine:.1f} s)"
        if other := ratios.get(contenders.FLOOR + contenders.OTHER):
            text += f"; {other:.2f} x the other checkout's floor"
        met = ratio <= limit
        return Verdict(goal, text if met else _and_why(text, results, key), met)

    return judge


def _rebuild(results: Results) -> Verdict:
    """The same goal, however the VM was started: a person can't choose."""
    warm = results.spread(contenders.REBUILD_WARM)
    if warm is None and "rebuild" in results.not_run:
        return Verdict(
            "rebuild, verified, in at most 0.3 x the floor",
            f"not measured: {results.not_run['rebuild']}",
            None,
        )
    booted = warm is None and results.spread(contenders.REBUILD_COLD) is not None
    key = contenders.REBUILD_COLD if booted else contenders.REBUILD_WARM
    return _of_the_floor("rebuild, verified,", key, 0.3)(results)


def _ratios(results: Results, key: str) -> Iterator[tuple[str, float]]:
    mine = results.median(key)
    for floor in (contenders.FLOOR, contenders.FLOOR + contenders.OTHER):
        seconds = results.median(floor)
        if mine is not None and seconds:
            yield floor, mine / seconds


def _at_most(title: str, key: str, limit: float, unit: str) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        goal = f"{title} in at most {limit:g} {unit}"
        seconds = results.median(key)
        if seconds is None:
            return _unknown(goal, results, key)
        shown = seconds / 60 if unit == "min" else seconds
        met = shown <= limit
        text = f"{shown:.1f} {unit}"
        return Verdict(goal, text if met else _and_why(text, results, key), met)

    return judge


def _ssh(results: Results) -> Verdict:
    goal = "SSH answers at most 6 s after a warm create began"
    found = results.fact(contenders.CREATE_WARM, "ssh_seconds")
    if found is None:
        return _unknown(goal, results, contenders.CREATE_WARM)
    return Verdict(goal, f"{found.median:.1f} s", found.median <= 6)


def _plain(results: Results) -> Verdict:
    goal = "create at least 15 x faster than plain"
    plain = results.median(contenders.PLAIN)
    if plain is None:
        return _unknown(goal, results, contenders.PLAIN)
    for key in (contenders.CREATE_WARM, contenders.CREATE_COLD):
        if mine := results.median(key):
            title = contenders.contender(key).title
            return Verdict(goal, f"{plain / mine:.0f} x ({title})", plain >= 15 * mine)
    return _unknown(goal, results, contenders.CREATE_COLD)


def _disk(results: Results) -> Verdict:
    goal = "a new VM's own disk has at most 60 MB"
    for key in (contenders.CREATE_WARM, contenders.CREATE_COLD):
        root, data = results.fact(key, "root_mib"), results.fact(key, "data_mib")
        if root and data:
            total = (root.median + data.median) * 1.048576
            text = (
                f"{total:.0f} MB after {contenders.contender(key).title}: root {root.median:.0f} "
                f"MiB, data {data.median:.0f} MiB"
            )
            return Verdict(goal, text, total <= 60)
    return _unknown(goal, results, contenders.CREATE_COLD)


def _and_why(text: str, results: Results, key: str) -> str:
    where = slowest_phases(results, key)
    return f"{text}: {where}" if where else text


def _unknown(goal: str, results: Results, key: str) -> Verdict:
    why = results.not_run.get(key, "was not part of this run")
    return Verdict(goal, f"not measured: {contenders.contender(key).title}: {why}", None)


_GOALS: tuple[Callable[[Results], Verdict], ...] = (
    _of_the_floor("create (booted), verified,", contenders.CREATE_COLD, 1.25),
    _of_the_floor("create (restored), verified,", contenders.CREATE_WARM, 0.3),
    _of_the_floor("create (a spare taken), verified,", contenders.CREATE_SPARE, 0.3),
    _rebuild,
    _ssh,
    _at_most("verify", contenders.VERIFY, 8, "s"),
    _plain,
    _at_most("box build", contenders.BOX_BUILD, 4, "min"),
    _disk,
)
