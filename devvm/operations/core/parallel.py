"""Work on several machines in parallel."""

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
#: Seconds between checks whether an interrupted command has ended.
_PAUSE = 0.1


class SideBySide:
    """A pool of threads, each of which works on one VM, known by its name.

    On exit, it waits for all of them.

    Args:
        size: How many VMs at most at a time.
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
        """The VMs that are being worked on, in the order in which they were submitted."""
        return list(self._futures.values())

    @property
    def busy(self) -> bool:
        """Whether any VM is being worked on."""
        return bool(self._futures)

    @property
    def free(self) -> int:
        """How many more VMs can be submitted."""
        return self._size - len(self._futures)

    def submit(self, name: str, work: Callable[..., Any], *arguments: object) -> None:
        """Start to work on a VM."""
        self._futures[self._pool.submit(work, *arguments)] = name

    def ended(self, timeout: float | None = None) -> list[tuple[str, Future[Any]]]:
        """Wait until at least one has ended, or `timeout` seconds; return those that have ended."""
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
    """Call `work` for each name; one that fails doesn't stop the others.

    If an interrupt or a bug ends the call, running work is ended too, including its commands.

    Args:
        run: Reports the progress.
        doing: What is being done, for the progress: `checking`.
        names: What to call `work` with, one at a time.
        work: Called in its own thread.
        size: How many at most at a time.
        stop: Set when work that has begun must end.

    Returns:
        The results and the errors, by name.
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
                process.kill_commands_of_other_threads()  # only the main thread is interrupted
            raise
    return results, failed
