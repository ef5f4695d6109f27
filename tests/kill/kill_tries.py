"""Trying an operation at many moments: which, in which corners of the host, and what came of it."""

import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor

FULL = os.environ.get("DEVVM_KILL_FULL") == "1"
#: Random moments, of each operation.
RANDOM = int(os.environ.get("DEVVM_KILL_RANDOM", "20" if FULL else "2"))
#: One state of so many is tried: of the operations that lose most when they fail, and of others
#: and with other commands in their place.
PART = int(os.environ.get("DEVVM_KILL_PART", "1" if FULL else "4"))
THINNED = int(os.environ.get("DEVVM_KILL_THINNED", "1" if FULL else "8"))


def each(corners, points, try_one, passed):
    """Try every point, in whichever corner is free; what went wrong, in words."""
    free = queue.SimpleQueue()
    for corner in corners:
        free.put(corner)

    def attempt(point):
        corner = free.get()
        try:
            wrong = try_one(corner, point)
        except Exception as error:
            wrong = [repr(error)]
        finally:
            free.put(corner)
        where = f"{point:.3f} s" if isinstance(point, float) else passed[point]["boundary"]
        return [f"{where}: {'; '.join(wrong)}"] if wrong else []

    with ThreadPoolExecutor(len(corners)) as pool:
        return [text for texts in pool.map(attempt, points) for text in texts]


def chosen(passed, one_of, dice):
    """Which boundaries to die at: all, or one for each state of the host, of these a part."""
    if FULL:
        return range(len(passed))
    first = {entry["changes"]: number for number, entry in reversed(list(enumerate(passed)))}
    return sorted(first.values())[dice.randrange(one_of) :: one_of]


def tell(tried, name, passed, count, failures, start):
    """Add a row to what is told at the end."""
    states = len({entry["changes"] for entry in passed})
    seconds = round(time.monotonic() - start)
    tried.append((name, len(passed), states, count, count - len(failures), seconds))


def text(operation, failures):
    return f"{operation}, killed at\n  " + "\n  ".join(failures)
