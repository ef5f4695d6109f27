"""Makes `time.sleep` work in a Python under libfaketime, which imports this at start.

Python's sleep gives the kernel a moment of the monotonic clock, which libfaketime takes for one of
the clock that it changed. `select` is given a duration instead.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        select.select([], [], [], left)


time.sleep = _sleep
