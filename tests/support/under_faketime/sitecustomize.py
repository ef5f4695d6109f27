"""For a Python under libfaketime, which reads it when it starts: `time.sleep` works there.

libfaketime takes the moment of the monotonic clock that Python sleeps until for one of the clock
that it has changed. `select` is given how long, and not until when.
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
