"""Makes `time.sleep` work in a Python under libfaketime, which imports this at start-up.

Python's sleep passes the kernel an absolute monotonic time, which libfaketime mistakes for a time
of the clock that it fakes. `select` takes a duration instead.
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
