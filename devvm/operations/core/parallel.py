"""Work on several VMs at one time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any


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

    def ended(self, timeout: float) -> list[tuple[str, Future[Any]]]:
        """Those that have ended, after a while at the latest."""
        done = wait(self._futures, timeout=timeout, return_when=FIRST_COMPLETED).done
        return [(self._futures.pop(future), future) for future in done]
