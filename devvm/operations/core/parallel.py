"""Work on several machines at one time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from devvm.domain.errors import DevvmError
from devvm.operations.core.progress import Run, bar
from devvm.system import process

_Result = TypeVar("_Result")
#: Seconds between two looks at what an interrupt has ended.
_PAUSE = 0.1


class SideBySide:
    """A thread for each VM that is worked on, told apart by the VMs' names.

    At the end it waits for those that have begun.

    Args:
        size: How many VMs at most at one time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(max_workers=size)
        self._futures: dict[Future[Any], str] = {}

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    @property
    def names(self) -> list[str]:
        """Those at work, in the order in which they began."""
        return list(self._futures.values())

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return bool(self._futures)

    @property
    def free(self) -> int:
        """How many more can be begun with."""
        return self._size - len(self._futures)

    def submit(self, name: str, work: Callable[..., Any], *arguments: object) -> None:
        """Begin with a VM."""
        self._futures[self._pool.submit(work, *arguments)] = name

    def ended(self, timeout: float | None = None) -> list[tuple[str, Future[Any]]]:
        """Those that have ended, as soon as there is one, or after `timeout` seconds."""
        done = wait(self._futures, timeout=timeout, return_when=FIRST_COMPLETED).done
        return [(self._futures.pop(future), future) for future in done]


def for_each(
    run: Run,
    doing: str,
    names: Iterable[str],
    work: Callable[[str], _Result],
    *,
    size: int,
    stop: threading.Event | None = None,
) -> tuple[dict[str, _Result], dict[str, DevvmError]]:
    """Do the same for each of these; one that fails keeps no other from being worked on.

    Whatever else ends it, an interrupt or a defect, also ends what has begun, commands included.

    Args:
        run: Where the progress goes.
        doing: What is done, for the progress: `checking`.
        names: Told to `work`, one at a time.
        work: Called in a thread of its own.
        size: How many at most at one time.
        stop: Set for those that have begun, once they are to end.

    Returns:
        The results, and what went wrong, by name.
    """
    left, results, failed = deque(names), dict[str, _Result](), dict[str, DevvmError]()
    total = len(left)
    with SideBySide(size) as pool:
        try:
            while left or pool.busy:
                while left and pool.free:
                    name = left.popleft()
                    pool.submit(name, work, name)
                run.detail(bar(len(results) + len(failed), total, doing, pool.names))
                for name, future in pool.ended():
                    try:
                        results[name] = future.result()
                    except DevvmError as error:
                        failed[name] = error
        except BaseException:
            if stop is not None:
                stop.set()
            while pool.busy:
                pool.ended(_PAUSE)
                process.kill_those_of_other_threads()  # an interrupt is the main thread's alone
            raise
    return results, failed
