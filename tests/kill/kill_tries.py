"""Kills an operation at many moments: chooses them, uses all corners, collects failures."""

import os
import queue
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

FULL = os.environ.get("DEVVM_KILL_FULL") == "1"
#: Random moments per operation.
RANDOM = int(os.environ.get("DEVVM_KILL_RANDOM", "20" if FULL else "2"))
#: Try one of this many states: PART for operations that lose most when they fail; THINNED for the
#: others, and with other commands run next.
PART = int(os.environ.get("DEVVM_KILL_PART", "1" if FULL else "4"))
THINNED = int(os.environ.get("DEVVM_KILL_THINNED", "1" if FULL else "8"))


@dataclass(frozen=True)
class Moment:
    """When a command dies: at a boundary, or a number of seconds after it."""

    boundary: int
    delay: float = 0.0

    def earlier(self):
        """This moment and earlier ones, for a command that may have ended by then."""
        last = max(0, self.boundary - 1)
        return (self, replace(self, delay=self.delay / 2), Moment(self.boundary), Moment(last))


def killed(host, moment, restore, argv, **options):
    """Kill a command at a moment, in a state that `restore` sets up; return what went wrong."""
    for tried in moment.earlier():
        restore()
        done = host.run(*argv, kill_at=tried.boundary, kill_after=tried.delay, **options)
        if done.killed:
            return []
    return [f"it was not killed: {done.output}"]


def each(corners, moments, try_one, passed):
    """Try every moment, in whichever corner is free; return what went wrong, in words."""
    free = queue.SimpleQueue()
    for corner in corners:
        free.put(corner)

    def attempt(moment):
        corner = free.get()
        try:
            wrong = try_one(corner, moment)
        except Exception as error:
            wrong = [repr(error)]
        finally:
            free.put(corner)
        where = passed[moment.boundary]["boundary"]
        if moment.delay:
            where += f", {moment.delay:.3f} s later"
        return [f"{where}: {'; '.join(wrong)}"] if wrong else []

    with ThreadPoolExecutor(len(corners)) as pool:
        return [text for texts in pool.map(attempt, moments) for text in texts]


def chosen(passed, one_of, dice):
    """The boundaries to die at: all, or one for each of a part of the host's states.

    Boundaries at which nothing has changed yet are left out, as nothing can go wrong there.
    """
    if FULL:
        return [Moment(number) for number in range(len(passed))]
    first = {entry["changes"]: number for number, entry in reversed(list(enumerate(passed)))}
    of_states = sorted(first[changes] for changes in first if changes)
    return [Moment(number) for number in of_states[dice.randrange(one_of) :: one_of]]


def between(passed, dice):
    """Random moments between boundaries, in the middle of whatever is being done."""
    times = [entry["seconds"] for entry in passed]
    found = []
    for _ in range(RANDOM):
        at = dice.uniform(times[0], times[-1])
        number = bisect_right(times, at) - 1
        found.append(Moment(number, at - times[number]))
    return found


def tell(tried, name, passed, count, failures, start):
    """Add a row to the final report."""
    states = len({entry["changes"] for entry in passed})
    seconds = round(time.monotonic() - start)
    tried.append((name, len(passed), states, count, count - len(failures), seconds))


def text(operation, failures):
    return f"{operation}, killed at\n  " + "\n  ".join(failures)
